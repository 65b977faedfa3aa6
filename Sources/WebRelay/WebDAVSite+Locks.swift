import NIOCore
import NIOHTTP1

// LOCK and UNLOCK (RFC 4918, 9.10 and 9.11).

extension WebDAVSite {
  /// Bytes of what a client says of the owner of a lock.
  private static let ownerLimit = 1024

  func lock(_ request: Request, _ body: ByteBuffer) throws -> WebPage {
    let seconds = LockTable.seconds(request.head.headers.first(name: "timeout"))
    guard body.readableBytes > 0 else { return try refresh(request, seconds) }
    let wanted = try Self.parse(body)
    guard wanted.name == "lockinfo", wanted.namespace == "DAV:", let scope = wanted.child("lockscope"),
      wanted.child("locktype")?.child("write") != nil,
      scope.child("exclusive") != nil || scope.child("shared") != nil
    else { throw Self.refuse(.badRequest, "The body is no lockinfo.") }
    guard request.depth == nil || request.depth == "0" || request.depth == "infinity" else {
      throw Self.refuse(.badRequest, "The depth can be 0 or infinity.")
    }
    let owner = wanted.child("owner")
    guard (owner?.xml.utf8.count ?? 0) <= Self.ownerLimit else {
      throw Self.refuse(.payloadTooLarge, "The owner is too long.")
    }
    let place = try request.path.isEmpty ? nil : newPlace(request.path, on: request.root)
    let (lock, isNew) = try deciding(request) { table in
      // A lock on nothing makes an empty file (7.3).
      let status = try place.map { try $0.status() } ?? request.root.status([])
      if status == nil {
        guard !request.endsWithSlash, place?.name.isTrap == false else { throw ConfinedRoot.Failure.notFound }
        try table.check(request.path, .addition, request.tokens)
      }
      let isExclusive = scope.child("exclusive") != nil
      let others = table.conflicts(request.path, isExclusive: isExclusive, isDeep: request.depth != "0")
      guard others.isEmpty else {
        throw SiteRefusal(page: Self.multistatus(Self.error("no-conflicting-lock", others), status: .locked))
      }
      guard !table.isFull(at: request.path) else { throw LockTable.Refusal.full }
      if status == nil, let place { try ConfinedRoot.makeFile(place) }
      let lock = try table.add(
        request.path, isDirectory: status?.isDirectory ?? false, isExclusive: isExclusive, isDeep: request.depth != "0",
        owner: owner,
        seconds: seconds,
        now: Self.now)
      return (lock, status == nil)
    }
    var page = Self.discovery(lock)
    page.status = isNew ? .created : .ok
    page.headers.add(name: "lock-token", value: "<\(lock.token)>")
    return page
  }

  private func refresh(_ request: Request, _ seconds: Int64) throws -> WebPage {
    guard !request.tokens.isEmpty else {
      throw Self.refuse(.badRequest, "Which lock is to last longer? Its token belongs into an If field.")
    }
    let lock = try deciding(request) { $0.refresh(request.path, request.tokens, seconds: seconds, now: Self.now) }
    guard let lock else { throw SiteRefusal(page: .preconditionFailed) }
    return Self.discovery(lock)
  }

  private static func discovery(_ lock: LockTable.Lock) -> WebPage {
    multistatus("<D:prop xmlns:D=\"DAV:\"><D:lockdiscovery>\(active(lock))</D:lockdiscovery></D:prop>\n", status: .ok)
  }

  func unlock(_ request: Request) throws -> WebPage {
    guard let field = request.head.headers.first(name: "lock-token")?.trimmed, field.hasPrefix("<"),
      field.hasSuffix(">"), field.utf8.count > 2
    else {
      throw Self.refuse(.badRequest, "The Lock-Token field is missing.")
    }
    let isGone = try deciding(request) { $0.remove(String(field.dropFirst().dropLast()), covering: request.path) }
    guard isGone else { return Self.multistatus(Self.error("lock-token-matches-request-uri", []), status: .conflict) }
    return WebPage(status: .noContent)
  }

  /// A lock as `lockdiscovery` shows it.
  static func active(_ lock: LockTable.Lock) -> String {
    "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope>\(lock.isExclusive ? "<D:exclusive/>" : "<D:shared/>")</D:lockscope>"
      + "<D:depth>\(lock.isDeep ? "infinity" : "0")</D:depth>\(lock.owner?.xml ?? "")<D:timeout>Second-\(max(lock.ends - now, 0))</D:timeout>"
      + "<D:locktoken><D:href>\(lock.token)</D:href></D:locktoken>"
      + "<D:lockroot><D:href>\(WebPage.escaped(lock.path.url(isDirectory: lock.isDirectory)))</D:href></D:lockroot></D:activelock>"
  }

  /// The body that tells which condition was broken, and where (RFC 4918, 16).
  static func error(_ condition: String, _ paths: [FilePath]) -> String {
    let places = paths.map { "<D:href>\(WebPage.escaped($0.url(isDirectory: false)))</D:href>" }.sorted().joined()
    return
      "<D:error xmlns:D=\"DAV:\"><D:\(condition)\(places.isEmpty ? "/>" : ">\(places)</D:\(condition)>")</D:error>\n"
  }
}
