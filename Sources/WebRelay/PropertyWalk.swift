import Foundation
import NIOCore
import Transport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The properties of a file, or of a directory and what is below it, as a multistatus that is written while it is sent:
/// a directory before its entries, in the order of the file system. Memory is that of the depth, not of the number of
/// files.
final class PropertyWalk: SiteContent, @unchecked Sendable {
  // Unchecked: asked for one piece after the other.

  /// Entries that one answer tells of. Who meets the limit reads it in the answer (507, as RFC 6578 does it), and asks
  /// for parts.
  static let entryLimit = 200_000

  private struct Level {
    let entry: ConfinedRoot.Entry
    let path: FilePath
    let names: DirectoryNames
  }

  private let wish: PropertyWish
  private let table: LockTable
  private let depth: Int
  private let top: (entry: ConfinedRoot.Entry, path: FilePath)
  private var levels: [Level] = []
  private var count = 0
  private var hasBegun = false
  private(set) var isDone = false
  private var pending = ByteBuffer()
  private var place: Places.Place?

  var length: Int64? { nil }

  init(_ entry: ConfinedRoot.Entry, _ path: FilePath, depth: Int, _ wish: PropertyWish, _ table: LockTable) {
    self.wish = wish
    self.table = table
    self.depth = depth
    top = (entry, path)
  }

  /// Goes on after a piece that was read ahead.
  func resuming(_ piece: ByteBuffer, holding place: Places.Place) -> PropertyWalk {
    pending = piece
    self.place = place
    return self
  }

  func next(_ size: Int) -> ByteBuffer {
    if pending.readableBytes > 0 {
      defer { pending = ByteBuffer() }
      return pending
    }
    var text = ""
    if !hasBegun {
      hasBegun = true
      text = WebDAVSite.xmlDeclaration + "<D:multistatus xmlns:D=\"DAV:\" xmlns:Z=\"\(PropertyName.zrokNamespace)\">\n"
      text += response(top.path, top.entry.status) { self.top.entry }
      descend(top.entry, top.path)
    }
    while !isDone, text.utf8.count < size {
      guard let level = levels.last else {
        text += "</D:multistatus>\n"
        isDone = true
        break
      }
      guard let name = level.names.next() else {
        levels.removeLast()
        continue
      }
      // A symlink is not part of the drive.
      guard !name.isTemporary, let status = try? ConfinedRoot.status(level.entry, name) else { continue }
      count += 1
      guard count <= Self.entryLimit else {
        levels = []
        text +=
          "<D:response><D:href>\(WebPage.escaped(top.path.url(isDirectory: true)))</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status>"
          + "<D:responsedescription>There are more than \(Self.entryLimit) entries; ask for parts.</D:responsedescription></D:response>\n"
        continue
      }
      let path = level.path + [name]
      text += response(path, status) { try? ConfinedRoot.open(level.entry, name) }
      if status.isDirectory, levels.count < depth, levels.count < FileName.depthLimit,
        let entry = try? ConfinedRoot.open(level.entry, name)
      {
        descend(entry, path)
      }
    }
    return ByteBuffer(string: text)
  }

  private func descend(_ entry: ConfinedRoot.Entry, _ path: FilePath) {
    guard depth > levels.count, entry.isDirectory, let names = DirectoryNames(entry) else { return }
    levels.append(Level(entry: entry, path: path, names: names))
  }

  // MARK: One resource

  private func response(_ path: FilePath, _ status: ConfinedRoot.Status, _ open: () -> ConfinedRoot.Entry?) -> String {
    // Opened once, and only for what needs it.
    var opened: ConfinedRoot.Entry??
    func entry() -> ConfinedRoot.Entry? {
      if let opened { return opened }
      let entry = open()
      opened = .some(entry)
      return entry
    }
    let dead = wish.wantsDead ? entry().map(DeadProperties.read) ?? [] : []
    var found = ""
    var missing = ""
    func tell(_ name: PropertyName, isAsked: Bool) {
      if let value = value(name, path, status, entry) {
        found += name.tags.open + value + name.tags.close
      } else if let kept = dead.first(where: { PropertyName($0) == name }) {
        found += kept.xml
      } else if isAsked {
        missing += name.empty
      }
    }
    switch wish {
    case .some(let wanted):
      for name in wanted { tell(name, isAsked: true) }
    case .all(let others):
      for name in PropertyName.live + dead.map(PropertyName.init) { tell(name, isAsked: false) }
      for name in others { tell(name, isAsked: true) }
    case .names:
      for name in PropertyName.live where value(name, path, status, entry) != nil { found += name.empty }
      for property in dead { found += PropertyName(property).empty }
    }
    var text = "<D:response><D:href>\(WebPage.escaped(path.url(isDirectory: status.isDirectory)))</D:href>"
    if !found.isEmpty || missing.isEmpty {
      text += "<D:propstat><D:prop>\(found)</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
    }
    if !missing.isEmpty {
      text += "<D:propstat><D:prop>\(missing)</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
    }
    return text + "</D:response>\n"
  }

  private static let supportedLock = ["exclusive", "shared"].map {
    "<D:lockentry><D:lockscope><D:\($0)/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
  }.joined()

  /// nil for what the drive does not know of it.
  private func value(
    _ name: PropertyName, _ path: FilePath, _ status: ConfinedRoot.Status, _ entry: () -> ConfinedRoot.Entry?
  ) -> String? {
    if name == .zrokModified { return "\(status.modified)" }
    guard name.namespace == "DAV:" else { return nil }
    switch name.name {
    case "resourcetype": return status.isDirectory ? "<D:collection/>" : ""
    case "displayname": return WebPage.escaped(path.last?.shown ?? "/")
    case "getcontentlength": return status.isDirectory ? nil : "\(status.size)"
    case "getcontenttype":
      guard !status.isDirectory, let name = path.last else { return nil }
      return ContentTypes.of(name) { (try? entry()?.read(at: 0, count: $0)) ?? [] }
    case "getetag": return status.isDirectory ? nil : WebPage.escaped(status.tag.text)
    case "getlastmodified": return HTTPDate.text(status.modified)
    case "creationdate": return Date(timeIntervalSince1970: Double(status.modified)).formatted(.iso8601)
    case "supportedlock": return Self.supportedLock
    case "lockdiscovery": return table.covering(path).map(WebDAVSite.active).joined()
    case "quota-available-bytes": return status.isDirectory ? quota(entry()) { $0.f_bavail } : nil
    case "quota-used-bytes":
      return status.isDirectory ? quota(entry()) { $0.f_blocks - min($0.f_blocks, $0.f_bfree) } : nil
    default: return nil
    }
  }

  /// Of the file system, as RFC 4331 has it for who may use all of it.
  private func quota(_ entry: ConfinedRoot.Entry?, _ blocks: (statvfs) -> fsblkcnt_t) -> String? {
    guard let entry else { return nil }
    var system = statvfs()
    guard fstatvfs(entry.descriptor, &system) == 0 else { return nil }
    return "\(UInt64(blocks(system)).multipliedReportingOverflow(by: UInt64(system.f_frsize)).partialValue)"
  }
}
