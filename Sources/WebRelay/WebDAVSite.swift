import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Transport

/// A directory as a drive: WebDAV class 2 (RFC 4918), confined to the directory, without symlinks (zrok.md 1.14).
///
/// A file takes its place only when it is whole and on disk. What a request demands of locks and states is judged in
/// the moment in which its change takes effect: each change is prepared beside its place, and takes it in one step
/// while `locks` is held. Browsers get listings.
public final class WebDAVSite: Site {
  /// zrok's header of an upload that tells when the file was written: seconds since 1970.
  private static let zrokHeader = "zrok-modtime"

  private static let reading = "OPTIONS, GET, HEAD, PROPFIND"
  private static let writing = reading + ", PROPPATCH, PUT, DELETE, MKCOL, COPY, MOVE, LOCK, UNLOCK"

  private let path: String
  private let isReadOnly: Bool
  let locks = Mutex(LockTable())
  let longAnswers = Places.longAnswers()

  /// - Parameter root: the directory; nothing outside what this path leads to at the time of a request is read or
  ///   written.
  /// - Throws: when there is no such directory.
  public init(root: String, isReadOnly: Bool = false) throws {
    _ = try ConfinedRoot(root)
    path = root
    self.isReadOnly = isReadOnly
  }

  // MARK: A request

  /// What a request names, on the directory as it is now.
  struct Request {
    let head: HTTPRequestHead
    let path: FilePath
    let endsWithSlash: Bool
    let root: ConfinedRoot
    let condition: IfHeader?
    /// Lock tokens that it shows.
    let tokens: Set<String>

    /// - Throws: what is wrong with its address or fields.
    init(_ head: HTTPRequestHead, rootPath: String) throws {
      self.head = head
      path = try Self.path(head.uri)
      endsWithSlash = head.uri.prefix { $0 != "?" }.hasSuffix("/")
      condition = try head.headers["if"].isEmpty ? nil : Self.condition(head.headers["if"].joined(separator: " "))
      tokens = condition?.tokens ?? []
      root = try ConfinedRoot(rootPath)
    }

    private static func condition(_ text: String) throws -> IfHeader {
      guard let condition = IfHeader(text) else { throw refuse(.badRequest, "The If field cannot be understood.") }
      return condition
    }

    /// - Throws: `forbidden` for what this program keeps there for itself.
    static func path(_ uri: some StringProtocol) throws -> FilePath {
      // Whoever sends the part behind # does not mean the file whose name is before it.
      guard !uri.contains("#") else { throw ConfinedRoot.Failure.badPath }
      let path = try FilePath(url: uri.prefix { $0 != "?" })
      guard !path.contains(where: \.isTemporary) else { throw ConfinedRoot.Failure.forbidden }
      return path
    }

    /// Where a URL leads on this drive; nil for another server's.
    func local(_ url: String) throws -> FilePath? {
      if url.hasPrefix("/") {
        let path = try Self.path(url)
        // Behind two slashes stands a server.
        return url.hasPrefix("//") ? nil : path
      }
      guard let scheme = ["http://", "https://"].first(where: { url.lowercased().hasPrefix($0) }) else { return nil }
      let rest = url.dropFirst(scheme.count)
      guard let slash = rest.firstIndex(of: "/") else { return nil }
      // The visitor may have another name for this server than the proxy before it, and say the scheme's port or not.
      func plain(_ host: some StringProtocol) -> String {
        let port = scheme == "https://" ? ":443" : ":80"
        let host = host.trimmed.lowercased()
        return host.hasSuffix(port) ? String(host.dropLast(port.count)) : host
      }
      let own =
        head.headers["host"] + head.headers["x-forwarded-host"].flatMap { $0.split(separator: ",").map(String.init) }
      guard own.contains(where: { plain($0) == plain(rest[..<slash]) }) else { return nil }
      return try Self.path(rest[slash...])
    }

    var depth: String? { head.headers.first(name: "depth")?.trimmed.lowercased() }
  }

  static func refuse(_ status: HTTPResponseStatus, _ text: String) -> SiteRefusal {
    SiteRefusal(page: .text(status: status, text + "\n"))
  }

  func bodyUse(_ head: HTTPRequestHead) -> BodyUse {
    switch head.method {
    case .PUT: .upload
    case .PROPFIND, .PROPPATCH, .LOCK, .MKCOL: .document
    default: .nothing
    }
  }

  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer {
    do {
      if head.method == .OPTIONS {
        return .page(
          WebPage(status: .ok, headers: ["allow": allowed, "dav": isReadOnly ? "1" : "1, 2", "ms-author-via": "DAV"]))
      }
      let request = try Request(head, rootPath: path)
      switch head.method {
      case .GET, .HEAD: return try read(request)
      case .PROPFIND: return try properties(request, body)
      case .PROPPATCH, .DELETE, .MKCOL, .COPY, .MOVE, .LOCK, .UNLOCK: break
      default:
        return .page(
          .text(
            status: .methodNotAllowed, "\(head.method.rawValue) is not possible here.\n", headers: [("allow", allowed)])
        )
      }
      guard !isReadOnly else { throw Self.refuse(.forbidden, "This drive is for reading.") }
      switch head.method {
      case .PROPPATCH: return .page(try changeProperties(request, body))
      case .DELETE: return .page(try delete(request))
      case .MKCOL: return .page(try makeCollection(request, body))
      case .LOCK: return .page(try lock(request, body))
      case .UNLOCK: return .page(try unlock(request))
      default: return .page(try transfer(request))
      }
    } catch {
      return .page(Self.page(error))
    }
  }

  private var allowed: String { isReadOnly ? Self.reading : Self.writing }

  static func page(_ error: any Error) -> WebPage {
    switch error {
    case let refusal as SiteRefusal: refusal.page
    case LockTable.Refusal.locked(let paths): multistatus(Self.error("lock-token-submitted", paths), status: .locked)
    case LockTable.Refusal.full:
      .text(
        status: .insufficientStorage, "There are as many locks as this drive keeps; try again when some have ended.\n")
    case ConfinedRoot.Failure.badPath: .text(status: .badRequest, "The path is not one of this drive.\n")
    case ConfinedRoot.Failure.notFound: .text(status: .notFound, "There is nothing of this name.\n")
    case ConfinedRoot.Failure.forbidden:
      .text(status: .forbidden, "This is not part of the drive, or may not be changed.\n")
    case ConfinedRoot.Failure.failed(ENOSPC), ConfinedRoot.Failure.failed(EDQUOT):
      .text(status: .insufficientStorage, "The disk is full.\n")
    case ConfinedRoot.Failure.failed(let code):
      .text(status: .internalServerError, String(cString: strerror(code)) + "\n")
    default: .text(status: .internalServerError, "\(error)\n")
    }
  }

  // MARK: Conditions

  /// What holds of a request while `body` runs, and until its change has taken effect. Nothing in it may take long.
  func deciding<Value: Sendable>(_ request: Request, _ body: (inout LockTable) throws -> Value) throws -> Value {
    try locks.withLock { table throws(any Error) -> Value in
      table.expire(now: Self.now)
      try judge(request, table)
      return try body(&table)
    }
  }

  /// Seconds of a clock that only goes forward.
  static var now: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000_000) }

  private func judge(_ request: Request, _ table: LockTable) throws {
    let state = try request.root.status(request.path).map(Preconditions.State.init)
    if let condition = request.condition, !condition.lists.contains(where: { holds($0, request, table) }) {
      throw SiteRefusal(page: .preconditionFailed)
    }
    if Preconditions.judge(request.head.method, request.head.headers, state) == .failed {
      throw SiteRefusal(page: .preconditionFailed)
    }
  }

  private func holds(_ list: IfHeader.List, _ request: Request, _ table: LockTable) -> Bool {
    let path: FilePath? =
      if let resource = list.resource { try? request.local(resource) } else { request.path }
    let status = path.flatMap { try? request.root.status($0) }
    let tokens = path.map { table.covering($0).map(\.token) } ?? []
    return list.conditions.allSatisfy { condition in
      switch condition.subject {
      case .token(let token): tokens.contains(token) != condition.isNegated
      case .tag(let tag):
        (status.map { !$0.isDirectory && $0.tag.matchesStrongly(tag) } ?? false) != condition.isNegated
      }
    }
  }

  // MARK: GET

  private func read(_ request: Request) throws -> SiteAnswer {
    if request.condition != nil { try deciding(request) { _ in } }
    let entry = try request.root.openPlain(request.path)
    if !entry.isDirectory, let name = request.path.last { return .file(entry, name: name, request.head) }
    // Browsers say that they want a page. To the others it is no file: zrok's clients rely on that (zrok.md 1.14).
    let wantsPage = request.head.headers["accept"].contains { $0.lowercased().contains("text/html") }
    guard wantsPage else {
      return .page(
        .text(status: .methodNotAllowed, "This is a directory.\n", headers: [("allow", allowed), ("vary", "accept")]))
    }
    guard request.endsWithSlash else { return .page(DirectoryPage.slash(request.path, request.head.uri)) }
    if Preconditions.judge(request.head.method, request.head.headers, .init(entry.status)) == .failed {
      return .page(.preconditionFailed)
    }
    let listed = ConfinedRoot.list(entry)
    var page = DirectoryPage.page(
      request.path, listed.filter { ((try? ConfinedRoot.status(entry, $0.name)) ?? nil) != nil },
      isCut: listed.count >= ConfinedRoot.listingLimit)
    page.headers.add(name: "vary", value: "accept")
    return .long(page, longAnswers, request.head)
  }

  // MARK: PUT

  private final class Upload: SiteUpload {
    private let site: WebDAVSite
    private let request: Request
    private let place: ConfinedRoot.Place
    private let file: ConfinedRoot.Upload

    init(_ site: WebDAVSite, _ request: Request, _ place: ConfinedRoot.Place, _ file: ConfinedRoot.Upload) {
      self.site = site
      self.request = request
      self.place = place
      self.file = file
    }

    func write(_ bytes: UnsafeRawBufferPointer) -> SiteRefusal? {
      do throws(ConfinedRoot.Failure) { try file.write(bytes) } catch {
        return SiteRefusal(page: WebDAVSite.page(error))
      }
      return nil
    }

    func commit() -> Result<WebPage, SiteRefusal> {
      do {
        let before = try? ConfinedRoot.open(place.directory, place.name)
        try file.finish(
          modified: request.head.headers.first(name: WebDAVSite.zrokHeader).flatMap { Int64($0) }, properties: before)
        // What held when the upload began may not hold any more.
        let (isNew, tag) = try site.deciding(request) { table in
          let isNew = try site.judgePut(request, place, table)
          try file.commit(to: place.name)
          return (isNew, try place.status()?.tag)
        }
        file.settle()
        return .success(WebPage(status: isNew ? .created : .noContent, headers: tag.map { ["etag": $0.text] } ?? [:]))
      } catch {
        file.abandon()
        return .failure(SiteRefusal(page: WebDAVSite.page(error)))
      }
    }
  }

  func beginUpload(_ head: HTTPRequestHead) -> Result<any SiteUpload, SiteRefusal> {
    do {
      if isReadOnly { throw Self.refuse(.forbidden, "This drive is for reading.") }
      guard !head.headers.contains(name: "content-range") else {
        throw Self.refuse(.badRequest, "A file is stored as a whole.")
      }
      let request = try Request(head, rootPath: path)
      guard !request.endsWithSlash else { throw Self.refuse(.methodNotAllowed, "A directory is made with MKCOL.") }
      let place = try newPlace(request.path, on: request.root)
      _ = try deciding(request) { try judgePut(request, place, $0) }
      return .success(Upload(self, request, place, try ConfinedRoot.beginFile(place)))
    } catch {
      return .failure(SiteRefusal(page: Self.page(error)))
    }
  }

  /// - Returns: whether there is no such file yet.
  private func judgePut(_ request: Request, _ place: ConfinedRoot.Place, _ table: LockTable) throws -> Bool {
    let there = try place.status()
    guard there?.isDirectory != true else { throw Self.refuse(.methodNotAllowed, "There is a directory of this name.") }
    if there == nil, place.name.isTrap {
      throw Self.refuse(.forbidden, "On some systems this name would lead out of the drive.")
    }
    try table.check(request.path, there == nil ? .addition : .itself, request.tokens)
    return there == nil
  }

  /// Where something can be stored. - Throws: 409 where the directory above is missing.
  func newPlace(_ path: FilePath, on root: ConfinedRoot) throws -> ConfinedRoot.Place {
    do { return try root.place(path) } catch ConfinedRoot.Failure.notFound {
      throw Self.refuse(.conflict, "The directory above does not exist.")
    }
  }
}
