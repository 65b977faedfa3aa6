import Foundation
import NIOCore
import NIOHTTP1
import Transport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// PROPFIND and PROPPATCH (RFC 4918, 9.1 and 9.2).

/// The name of a property.
struct PropertyName: Hashable, Sendable {
  /// zrok's own property tells when a file was written, in seconds since 1970, and sets it (zrok.md 1.14).
  static let zrokNamespace = "zrok:"
  static let zrokModified = PropertyName(namespace: zrokNamespace, name: "lastmodified")

  /// Those that the drive itself knows of everything; `quota` ones are told only to who asks for them (RFC 4331, 3).
  static let live =
    [
      "resourcetype", "displayname", "getcontentlength", "getcontenttype", "getetag", "getlastmodified", "creationdate",
      "supportedlock",
      "lockdiscovery",
    ]
    .map { PropertyName(namespace: "DAV:", name: $0) } + [zrokModified]

  let namespace: String
  let name: String

  init(namespace: String, name: String) {
    self.namespace = namespace
    self.name = name
  }

  init(_ element: XMLElement) { self.init(namespace: element.namespace, name: element.name) }

  var tags: (open: String, close: String) {
    let name = WebPage.escaped(name)
    switch namespace {
    case "DAV:": return ("<D:\(name)>", "</D:\(name)>")
    case Self.zrokNamespace: return ("<Z:\(name)>", "</Z:\(name)>")
    case "": return ("<\(name)>", "</\(name)>")
    default: return ("<X:\(name) xmlns:X=\"\(WebPage.escaped(namespace))\">", "</X:\(name)>")
    }
  }

  var empty: String { tags.open.dropLast() + "/>" }
}

/// Which properties a PROPFIND asks for.
enum PropertyWish: Sendable {
  /// With those besides.
  case all(and: [PropertyName])
  case names
  case some([PropertyName])

  /// - Throws: a refusal of what is no propfind.
  init(_ body: ByteBuffer) throws {
    guard body.readableBytes > 0 else {
      self = .all(and: [])
      return
    }
    let request = try WebDAVSite.parse(body)
    guard request.name == "propfind", request.namespace == "DAV:" else {
      throw WebDAVSite.refuse(.badRequest, "The body is no propfind.")
    }
    if let wanted = request.child("prop") {
      self = .some(wanted.children.map(PropertyName.init))
    } else if request.child("propname") != nil {
      self = .names
    } else if request.child("allprop") != nil {
      self = .all(and: (request.child("include")?.children ?? []).map(PropertyName.init))
    } else {
      throw WebDAVSite.refuse(.badRequest, "The propfind asks for nothing.")
    }
  }

  /// Whether the file itself must be opened for it.
  var wantsDead: Bool {
    switch self {
    case .all, .names: true
    case .some(let wanted): wanted.contains { $0.namespace != "DAV:" && $0 != .zrokModified }
    }
  }
}

extension WebDAVSite {
  static func parse(_ body: ByteBuffer) throws -> XMLElement {
    do throws(XMLElement.Failure) { return try XMLElement(parsing: body.readableBytesView) } catch {
      throw refuse(.badRequest, "The body cannot be read: \(error.reason).")
    }
  }

  static let multistatusHeaders: HTTPHeaders = [
    "content-type": "application/xml; charset=utf-8", "cache-control": "no-store", "x-content-type-options": "nosniff",
  ]
  static let xmlDeclaration = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"

  static func multistatus(_ text: String, status: HTTPResponseStatus = .multiStatus) -> WebPage {
    WebPage(status: status, headers: multistatusHeaders, body: ByteBuffer(string: xmlDeclaration + text))
  }

  func properties(_ request: Request, _ body: ByteBuffer) throws -> SiteAnswer {
    let depth = request.depth ?? "infinity"
    guard ["0", "1", "infinity"].contains(depth) else {
      throw Self.refuse(.badRequest, "The depth can be 0, 1 or infinity.")
    }
    let wish = try PropertyWish(body)
    let table = try deciding(request) { $0 }
    let entry = try request.root.openPlain(request.path)
    let walk = PropertyWalk(entry, request.path, depth: depth == "0" ? 0 : depth == "1" ? 1 : .max, wish, table)
    // What is short is told with its length.
    let start = walk.next(1 << 16)
    guard walk.isDone else {
      guard let place = longAnswers.take(for: request.head.asker) else { return .page(.tooManyLong(longAnswers)) }
      return .content(.multiStatus, Self.multistatusHeaders, walk.resuming(start, holding: place))
    }
    return .page(WebPage(status: .multiStatus, headers: Self.multistatusHeaders, body: start))
  }

  func changeProperties(_ request: Request, _ body: ByteBuffer) throws -> WebPage {
    let update = try Self.parse(body)
    guard update.name == "propertyupdate", update.namespace == "DAV:" else {
      throw Self.refuse(.badRequest, "The body is no propertyupdate.")
    }
    /// In the order of the document; nil removes it.
    var steps: [(name: PropertyName, value: XMLElement?)] = []
    for action in update.children where action.namespace == "DAV:" && (action.name == "set" || action.name == "remove")
    {
      for prop in action.children where prop.namespace == "DAV:" && prop.name == "prop" {
        for property in prop.children {
          var property = property
          // The language is that of the nearest element which tells one (RFC 4918, 4.3).
          let language = [property, prop, action, update].lazy.compactMap {
            $0.attributes.first { $0.namespace == XMLElement.xmlNamespace && $0.name == "lang" }
          }
          if let said = language.first, !property.attributes.contains(said) { property.attributes.append(said) }
          steps.append((PropertyName(property), action.name == "set" ? property : nil))
        }
      }
    }
    guard !steps.isEmpty else { throw Self.refuse(.badRequest, "The propertyupdate changes nothing.") }
    func time(_ value: XMLElement?) -> Int64? {
      value.flatMap { Int64($0.text.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
    func isPossible(_ step: (name: PropertyName, value: XMLElement?)) -> Bool {
      step.name == .zrokModified ? time(step.value) != nil : step.name.namespace != "DAV:"
    }
    // All or nothing (9.2).
    var status: String?
    let isDirectory = try deciding(request) { table in
      let entry = try request.root.openPlain(request.path)
      try table.check(request.path, .itself, request.tokens)
      guard steps.allSatisfy(isPossible) else { return entry.isDirectory }
      var dead = DeadProperties.read(entry)
      for (name, value) in steps where name != .zrokModified {
        dead.removeAll { PropertyName($0) == name }
        if let value { dead.append(value) }
      }
      do throws(ConfinedRoot.Failure) {
        if steps.contains(where: { $0.name != .zrokModified }) { try DeadProperties.write(dead, to: entry) }
        if let seconds = steps.last(where: { $0.name == .zrokModified }).flatMap({ time($0.value) }) {
          ConfinedRoot.setTime(entry.descriptor, seconds)
        }
        status = "200 OK"
      } catch {
        status = error == .failed(ENOSPC) ? "507 Insufficient Storage" : "403 Forbidden"
      }
      return entry.isDirectory
    }
    var text = ""
    for step in steps {
      let outcome = status ?? (isPossible(step) ? "424 Failed Dependency" : "403 Forbidden")
      let why = status == nil && !isPossible(step) ? "<D:error><D:cannot-modify-protected-property/></D:error>" : ""
      text +=
        "<D:propstat><D:prop>\(step.name.empty)</D:prop><D:status>HTTP/1.1 \(outcome)</D:status>\(why)</D:propstat>"
    }
    return Self.multistatus(
      "<D:multistatus xmlns:D=\"DAV:\" xmlns:Z=\"\(PropertyName.zrokNamespace)\"><D:response>"
        + "<D:href>\(WebPage.escaped(request.path.url(isDirectory: isDirectory)))</D:href>\(text)</D:response></D:multistatus>\n"
    )
  }
}
