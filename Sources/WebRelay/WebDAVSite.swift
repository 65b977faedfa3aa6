import Foundation
import NIOCore
import NIOHTTP1

/// A directory as a drive: WebDAV class 1 (RFC 4918), confined to the directory, without symlinks (zrok.md 1.14).
///
/// A file takes its place only when it is whole and on disk. Locks are not offered, so clients that insist on them mount it for reading.
public final class WebDAVSite: Site {
  /// The namespace and name of zrok's own property, and the header that says the same with an upload: seconds since 1970.
  private static let zrokNamespace = "zrok:"
  private static let zrokModified = "lastmodified"
  private static let zrokHeader = "zrok-modtime"

  private static let reading = "OPTIONS, GET, HEAD, PROPFIND"
  private static let writing = reading + ", PROPPATCH, PUT, DELETE, MKCOL, COPY, MOVE"

  private let root: ConfinedRoot
  private let isReadOnly: Bool

  /// - Parameter root: the directory; nothing outside it is read or written.
  /// - Throws: when there is no such directory.
  public init(root: String, isReadOnly: Bool = false) throws {
    self.root = try ConfinedRoot(root)
    self.isReadOnly = isReadOnly
  }

  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer {
    do {
      let segments = try Self.segments(head.uri)
      switch head.method {
      case .OPTIONS: return .page(WebPage(status: .ok, headers: ["allow": allowed, "dav": "1", "ms-author-via": "DAV"]))
      case .GET, .HEAD:
        let entry = try root.openPlain(segments)
        // zrok's client tells files from directories by this (zrok.md 1.14).
        guard !entry.isDirectory else { return .page(.text(status: .methodNotAllowed, "This is a directory.\n", headers: [("allow", allowed)])) }
        return .file(entry, name: segments.last ?? "")
      case .PROPFIND: return .page(try properties(head, segments, body))
      case _ where isReadOnly: return .page(.text(status: .forbidden, "This drive is for reading.\n"))
      case .PROPPATCH: return .page(try change(head, segments, body))
      case .DELETE:
        guard !segments.isEmpty else { return .page(.text(status: .forbidden, "The drive itself cannot be deleted.\n")) }
        try root.remove(segments)
        return .page(WebPage(status: .noContent))
      case .MKCOL: return .page(try makeCollection(segments, body))
      case .COPY, .MOVE: return .page(try transfer(head, segments))
      default: return .page(.text(status: .methodNotAllowed, "\(head.method.rawValue) is not possible here.\n", headers: [("allow", allowed)]))
      }
    } catch let refusal as SiteRefusal {
      return .page(refusal.page)
    } catch {
      return .page(Self.page(error))
    }
  }

  private var allowed: String { isReadOnly ? Self.reading : Self.writing }

  private static func segments(_ uri: String) throws -> [String] { try ConfinedRoot.segments(uri.prefix { $0 != "?" && $0 != "#" }) }

  private static func page(_ error: any Error) -> WebPage {
    switch error as? ConfinedRoot.Failure {
    case .badPath?: .text(status: .badRequest, "The path is not one of this drive.\n")
    case .notFound?: .text(status: .notFound, "There is nothing of this name.\n")
    case .forbidden?: .text(status: .forbidden, "This is not part of the drive, or may not be changed.\n")
    case .failed(ENOSPC)?, .failed(EDQUOT)?: .text(status: .insufficientStorage, "The disk is full.\n")
    case .failed(let code)?: .text(status: .internalServerError, String(cString: strerror(code)) + "\n")
    case nil: .text(status: .internalServerError, "\(error)\n")
    }
  }

  private static func refuse(_ status: HTTPResponseStatus, _ text: String) -> SiteRefusal { SiteRefusal(page: .text(status: status, text + "\n")) }

  // MARK: PUT

  private final class Upload: SiteUpload {
    private let file: ConfinedRoot.Upload
    private let modified: Int64?
    private let isNew: Bool

    init(_ file: ConfinedRoot.Upload, modified: Int64?, isNew: Bool) {
      self.file = file
      self.modified = modified
      self.isNew = isNew
    }

    func write(_ bytes: UnsafeRawBufferPointer) -> SiteRefusal? {
      do throws(ConfinedRoot.Failure) { try file.write(bytes) } catch { return SiteRefusal(page: WebDAVSite.page(error)) }
      return nil
    }

    func commit() -> Result<WebPage, SiteRefusal> {
      do throws(ConfinedRoot.Failure) { try file.commit(modified: modified) } catch { return .failure(SiteRefusal(page: WebDAVSite.page(error))) }
      return .success(WebPage(status: isNew ? .created : .noContent))
    }
  }

  func acceptsUpload(_ head: HTTPRequestHead) -> Bool { head.method == .PUT }

  func beginUpload(_ head: HTTPRequestHead) -> Result<any SiteUpload, SiteRefusal> {
    do {
      if isReadOnly { throw Self.refuse(.forbidden, "This drive is for reading.") }
      guard !head.headers.contains(name: "content-range") else { throw Self.refuse(.badRequest, "A file is stored as a whole.") }
      let segments = try Self.segments(head.uri)
      guard !head.uri.prefix(while: { $0 != "?" }).hasSuffix("/") else { throw Self.refuse(.methodNotAllowed, "A directory is made with MKCOL.") }
      let place: (directory: ConfinedRoot.Entry, name: String)
      do { place = try root.parent(segments) } catch ConfinedRoot.Failure.notFound { throw Self.refuse(.conflict, "The directory does not exist.") }
      let there = try root.kind(place.directory, place.name)
      guard there?.isDirectory != true else { throw Self.refuse(.methodNotAllowed, "There is a directory of this name.") }
      let modified = head.headers.first(name: Self.zrokHeader).flatMap { Int64($0) }
      return .success(Upload(try root.beginFile(segments), modified: modified, isNew: there == nil))
    } catch let refusal as SiteRefusal {
      return .failure(refusal)
    } catch {
      return .failure(SiteRefusal(page: Self.page(error)))
    }
  }

  // MARK: MKCOL, COPY, MOVE

  private func makeCollection(_ segments: [String], _ body: ByteBuffer) throws -> WebPage {
    guard body.readableBytes == 0 else { throw Self.refuse(.unsupportedMediaType, "A directory is made without a body.") }
    guard !segments.isEmpty else { throw Self.refuse(.methodNotAllowed, "It exists.") }
    let place: (directory: ConfinedRoot.Entry, name: String)
    do { place = try root.parent(segments) } catch ConfinedRoot.Failure.notFound {
      throw Self.refuse(.conflict, "The directory above does not exist.")
    }
    guard try root.kind(place.directory, place.name) == nil else { throw Self.refuse(.methodNotAllowed, "It exists.") }
    try root.makeDirectory(segments)
    return WebPage(status: .created)
  }

  private func transfer(_ head: HTTPRequestHead, _ source: [String]) throws -> WebPage {
    let target = try destination(head)
    guard !source.isEmpty, !target.isEmpty else { throw Self.refuse(.forbidden, "The drive itself stays where it is.") }
    guard !target.starts(with: source) else { throw Self.refuse(.forbidden, "A directory cannot go into itself.") }
    guard !source.starts(with: target) else { throw Self.refuse(.forbidden, "It would replace the directory it is in.") }
    let from = try root.parent(source)
    guard try root.kind(from.directory, from.name) != nil else { throw ConfinedRoot.Failure.notFound }
    let place: (directory: ConfinedRoot.Entry, name: String)
    do { place = try root.parent(target) } catch ConfinedRoot.Failure.notFound {
      throw Self.refuse(.conflict, "The directory of the destination does not exist.")
    }
    let there = try root.kind(place.directory, place.name)
    if there != nil, head.headers.first(name: "overwrite")?.uppercased() == "F" { throw Self.refuse(.preconditionFailed, "The destination exists.") }
    if head.method == .MOVE {
      try root.move(source, to: target)
    } else {
      if there != nil { try root.remove(target) }
      try root.copy(source, to: target, deep: head.headers.first(name: "depth") != "0")
    }
    return WebPage(status: there == nil ? .created : .noContent)
  }

  /// Only a place on this drive.
  private func destination(_ head: HTTPRequestHead) throws -> [String] {
    guard let text = head.headers.first(name: "destination") else { throw Self.refuse(.badRequest, "The destination is missing.") }
    if text.hasPrefix("/") { return try Self.segments(text) }
    guard let scheme = ["http://", "https://"].first(where: { text.lowercased().hasPrefix($0) }) else {
      throw Self.refuse(.badRequest, "The destination is no address.")
    }
    let rest = text.dropFirst(scheme.count)
    guard let slash = rest.firstIndex(of: "/"), rest[..<slash].lowercased() == head.headers.first(name: "host")?.lowercased() else {
      throw Self.refuse(.badGateway, "The destination is on another server.")
    }
    return try Self.segments(String(rest[slash...]))
  }

  // MARK: PROPFIND, PROPPATCH

  private struct Name: Hashable {
    let namespace: String
    let name: String
  }

  private static let properties: [Name] =
    ["resourcetype", "displayname", "getcontentlength", "getcontenttype", "getetag", "getlastmodified", "creationdate"]
    .map { Name(namespace: "DAV:", name: $0) } + [Name(namespace: zrokNamespace, name: zrokModified)]

  private static func parse(_ body: ByteBuffer) throws -> XMLElement {
    do throws(XMLElement.Failure) { return try XMLElement(parsing: body.readableBytesView) } catch {
      throw refuse(.badRequest, "The body cannot be read: \(error.reason).")
    }
  }

  private func properties(_ head: HTTPRequestHead, _ segments: [String], _ body: ByteBuffer) throws -> WebPage {
    let depth = head.headers.first(name: "depth")?.lowercased() ?? "infinity"
    guard depth == "0" || depth == "1" else {
      return Self.multistatus(
        "<D:error xmlns:D=\"DAV:\"><D:propfind-finite-depth/></D:error>\n", status: .forbidden)
    }
    var wanted: [Name]?
    var onlyNames = false
    if body.readableBytes > 0 {
      let request = try Self.parse(body)
      guard request.name == "propfind", request.namespace == "DAV:" else { throw Self.refuse(.badRequest, "The body is no propfind.") }
      wanted = request.child("prop")?.children.map { Name(namespace: $0.namespace, name: $0.name) }
      onlyNames = request.child("propname") != nil
    }
    let entry = try root.openPlain(segments)
    var text = Self.response(
      segments, entry.isDirectory, name: segments.last ?? "/", size: entry.size, modified: entry.modified, wanted: wanted, onlyNames: onlyNames)
    if depth == "1", entry.isDirectory {
      for listed in ConfinedRoot.list(entry) {
        // A symlink is not part of the drive.
        guard (try? root.kind(entry, listed.name)) ?? nil != nil else { continue }
        text += Self.response(
          segments + [listed.name], listed.isDirectory, name: listed.name, size: listed.size, modified: listed.modified, wanted: wanted,
          onlyNames: onlyNames)
      }
    }
    return Self.multistatus("<D:multistatus xmlns:D=\"DAV:\" xmlns:Z=\"\(Self.zrokNamespace)\">\n\(text)</D:multistatus>\n")
  }

  private static func multistatus(_ text: String, status: HTTPResponseStatus = .multiStatus) -> WebPage {
    WebPage(
      status: status, headers: ["content-type": "application/xml; charset=utf-8", "cache-control": "no-store", "x-content-type-options": "nosniff"],
      body: ByteBuffer(string: "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n" + text))
  }

  private static func href(_ segments: [String], _ isDirectory: Bool) -> String {
    segments.isEmpty ? "/" : "/" + segments.map(FileSite.encoded).joined(separator: "/") + (isDirectory ? "/" : "")
  }

  private static func response(
    _ segments: [String], _ isDirectory: Bool, name: String, size: Int64, modified: Int64, wanted: [Name]?, onlyNames: Bool
  ) -> String {
    var found = ""
    var missing = ""
    for property in wanted ?? properties {
      let value: String?
      switch (property.namespace, property.name) {
      case ("DAV:", "resourcetype"): value = isDirectory ? "<D:collection/>" : ""
      case ("DAV:", "displayname"): value = WebPage.escaped(name)
      case ("DAV:", "getcontentlength"): value = isDirectory ? nil : "\(size)"
      case ("DAV:", "getcontenttype"): value = isDirectory ? nil : ContentTypes.of(name)
      case ("DAV:", "getetag"): value = isDirectory ? nil : WebPage.escaped(SiteHandler.tag(size: size, modified: modified))
      case ("DAV:", "getlastmodified"): value = HTTPDate.text(modified)
      case ("DAV:", "creationdate"): value = Date(timeIntervalSince1970: Double(modified)).formatted(.iso8601)
      case (zrokNamespace, zrokModified): value = "\(modified)"
      default: value = nil
      }
      let (open, close) = tags(property)
      if let value { found += onlyNames ? open.dropLast() + "/>" : open + value + close } else if wanted != nil { missing += open.dropLast() + "/>" }
    }
    var text = "<D:response><D:href>\(WebPage.escaped(href(segments, isDirectory)))</D:href>"
    if !found.isEmpty || missing.isEmpty { text += "<D:propstat><D:prop>\(found)</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>" }
    if !missing.isEmpty { text += "<D:propstat><D:prop>\(missing)</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>" }
    return text + "</D:response>\n"
  }

  private static func tags(_ property: Name) -> (open: String, close: String) {
    let name = WebPage.escaped(property.name)
    switch property.namespace {
    case "DAV:": return ("<D:\(name)>", "</D:\(name)>")
    case zrokNamespace: return ("<Z:\(name)>", "</Z:\(name)>")
    default: return ("<X:\(name) xmlns:X=\"\(WebPage.escaped(property.namespace))\">", "</X:\(name)>")
    }
  }

  private func change(_ head: HTTPRequestHead, _ segments: [String], _ body: ByteBuffer) throws -> WebPage {
    let request = try Self.parse(body)
    guard request.name == "propertyupdate", request.namespace == "DAV:" else { throw Self.refuse(.badRequest, "The body is no propertyupdate.") }
    let entry = try root.openPlain(segments)
    var wanted: [(Name, String?)] = []
    for action in request.children where action.namespace == "DAV:" && (action.name == "set" || action.name == "remove") {
      for property in action.child("prop")?.children ?? [] {
        wanted.append((Name(namespace: property.namespace, name: property.name), action.name == "set" ? property.text : nil))
      }
    }
    let time = Name(namespace: Self.zrokNamespace, name: Self.zrokModified)
    // All or nothing (RFC 4918, 9.2).
    let isPossible =
      !wanted.isEmpty && wanted.allSatisfy { $0.0 == time && $0.1.flatMap { Int64($0.trimmingCharacters(in: .whitespacesAndNewlines)) } != nil }
    var text = ""
    for (property, value) in wanted {
      let (open, _) = Self.tags(property)
      let isTime = property == time
      if isPossible, let seconds = value.flatMap({ Int64($0.trimmingCharacters(in: .whitespacesAndNewlines)) }) {
        try root.setTime(segments, seconds)
      }
      let status = isPossible ? "200 OK" : isTime ? "424 Failed Dependency" : "403 Forbidden"
      text += "<D:propstat><D:prop>\(open.dropLast())/></D:prop><D:status>HTTP/1.1 \(status)</D:status></D:propstat>"
    }
    return Self.multistatus(
      "<D:multistatus xmlns:D=\"DAV:\" xmlns:Z=\"\(Self.zrokNamespace)\"><D:response><D:href>\(WebPage.escaped(Self.href(segments, entry.isDirectory)))</D:href>"
        + "\(text)</D:response></D:multistatus>\n")
  }
}
