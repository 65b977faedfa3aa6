import Foundation
import NIOCore
import Testing

@testable import WebRelay

@Suite("Locks on a drive", .timeLimit(.minutes(5)))
struct DriveLockTests {
  private typealias Bench = WebDAVTests.Bench

  private static func lockInfo(_ scope: String = "exclusive") -> String {
    "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:\(scope)/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>mailto:ann</D:href></D:owner></D:lockinfo>"
  }

  /// - Returns: the token.
  private static func lock(
    _ bench: Bench, _ path: String, _ fields: String = "", scope: String = "exclusive", status: Int = 200
  ) async throws
    -> String
  {
    let answer = try await bench.ask("LOCK", path, fields, lockInfo(scope))
    #expect(
      answer.status == status && answer.text.contains("<owner xmlns=\"DAV:\"><href>mailto:ann</href></owner>"),
      "\(answer.text)")
    let field = try #require(answer.text.split(separator: "\r\n").first { $0.hasPrefix("lock-token: <") })
    return String(field.dropFirst(13).dropLast())
  }

  @Test("what is locked changes for the holder of its token alone, by every method")
  func exclusive() async throws {
    let bench = try await Bench.start()
    let token = try await Self.lock(bench, "/a.txt", "Timeout: Infinite, Second-4100000000\r\n")
    let update = "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='u'>1</x></prop></set></propertyupdate>"
    let changes = [
      ("PUT", "/a.txt", "", "evil"), ("PROPPATCH", "/a.txt", "", update), ("DELETE", "/a.txt", "", ""),
      ("MOVE", "/a.txt", "Destination: /b\r\n", ""),
      ("COPY", "/sub/b.txt", "Destination: /a.txt\r\n", ""), ("MOVE", "/sub/b.txt", "Destination: /a.txt\r\n", ""),
      ("LOCK", "/a.txt", "", Self.lockInfo()),
      ("LOCK", "/a.txt", "", Self.lockInfo("shared")), ("LOCK", "/", "", Self.lockInfo()),
    ]
    for (method, path, fields, body) in changes {
      let answer = try await bench.ask(method, path, fields, body)
      #expect(
        answer.status == 423 && answer.text.contains("<D:href>/a.txt</D:href>"), "\(method) \(path): \(answer.text)")
    }
    #expect(bench.content("root/a.txt") == "0123456789")
    #expect(try await bench.ask("GET", "/a.txt").status == 200)
    let shown = try await bench.ask("PROPFIND", "/a.txt", "Depth: 0\r\n").text
    #expect(
      shown.contains(token) && shown.contains("<D:timeout>Second-3")
        && shown.contains("<D:lockroot><D:href>/a.txt</D:href></D:lockroot>"))
    // A copy of it is not locked.
    #expect(try await bench.ask("COPY", "/a.txt", "Destination: /c\r\n").status == 201)
    #expect(try await bench.ask("PUT", "/c", "", "free").status == 204)
    #expect(try await bench.ask("PUT", "/a.txt", "If: (<\(token)>)\r\n", "mine").status == 204)
    // The token may be shown for another place than the one in the list, as long as a list holds.
    #expect(try await bench.ask("PUT", "/a.txt", "If: (<\(token)x>) (Not <DAV:no-lock>)\r\n", "x").status == 423)
    let refreshed = try await bench.ask("LOCK", "/a.txt", "If: (<\(token)>)\r\nTimeout: Second-60\r\n").text
    #expect(refreshed.contains("<D:timeout>Second-60<") || refreshed.contains("<D:timeout>Second-59<"))
    #expect(try await bench.ask("LOCK", "/a.txt", "If: (<\(token)x>)\r\n").status == 412)
    #expect(try await bench.ask("LOCK", "/a.txt").status == 400)
    #expect(try await bench.ask("UNLOCK", "/a.txt").status == 400)
    #expect(try await bench.ask("UNLOCK", "/c", "Lock-Token: <\(token)>\r\n").status == 409)
    #expect(try await bench.ask("UNLOCK", "/a.txt", "Lock-Token: <\(token)x>\r\n").status == 409)
    #expect(try await bench.ask("UNLOCK", "/a.txt", "Lock-Token: <\(token)>\r\n").status == 204)
    #expect(try await bench.ask("PUT", "/a.txt", "", "free").status == 204)
    try await bench.stop()
  }

  @Test("a lock on a directory covers all that is in it, or its list of names alone")
  func directories() async throws {
    let bench = try await Bench.start()
    let deep = try await Self.lock(bench, "/sub")
    for (method, path, fields) in [
      ("PUT", "/sub/b.txt", ""), ("PUT", "/sub/new", ""), ("MKCOL", "/sub/new", ""), ("DELETE", "/sub/b.txt", ""),
      ("DELETE", "/sub", ""),
      ("COPY", "/a.txt", "Destination: /sub/new\r\n"), ("MOVE", "/sub/b.txt", "Destination: /out\r\n"),
      ("LOCK", "/sub/b.txt", ""),
      ("LOCK", "/sub/new", ""),
    ] {
      let body = method == "LOCK" ? Self.lockInfo() : ""
      #expect(try await bench.ask(method, path, fields, body).status == 423, "\(method) \(path)")
    }
    let shown = "If: </sub> (<\(deep)>)\r\n"
    #expect(try await bench.ask("PUT", "/sub/new", shown, "x").status == 201)
    // Refreshed through what it covers.
    #expect(try await bench.ask("LOCK", "/sub/new", "If: (<\(deep)>)\r\n").status == 200)
    #expect(try await bench.ask("UNLOCK", "/sub/new", "Lock-Token: <\(deep)>\r\n").status == 204)
    let shallow = try await Self.lock(bench, "/sub", "Depth: 0\r\n")
    #expect(try await bench.ask("PUT", "/sub/b.txt", "", "free").status == 204)
    for (method, path, fields) in [
      ("PUT", "/sub/other", ""), ("DELETE", "/sub/b.txt", ""), ("MKCOL", "/sub/d", ""),
      ("MOVE", "/sub/b.txt", "Destination: /out\r\n"),
      ("COPY", "/a.txt", "Destination: /sub/c\r\n"),
    ] {
      #expect(try await bench.ask(method, path, fields).status == 423, "\(method) \(path)")
    }
    #expect(try await bench.ask("DELETE", "/sub/b.txt", "If: </sub/> (<\(shallow)>)\r\n").status == 204)
    #expect(try await bench.ask("DELETE", "/sub", "If: (<\(shallow)>)\r\n").status == 204)
    // With what was there its locks are gone.
    #expect(bench.lockCount == 0)
    // What is locked below stands in the way of the whole.
    #expect(try await bench.ask("MKCOL", "/top").status == 201)
    #expect(try await bench.ask("PUT", "/top/f", "", "x").status == 201)
    let inner = try await Self.lock(bench, "/top/f")
    #expect(try await bench.ask("DELETE", "/top").text.contains("<D:href>/top/f</D:href>"))
    #expect(try await bench.ask("MOVE", "/top", "Destination: /elsewhere\r\n").status == 423)
    #expect(
      try await bench.ask("MOVE", "/top", "Destination: /elsewhere\r\nIf: </top/f> (<\(inner)>)\r\n").status == 201)
    #expect(bench.lockCount == 0 && bench.content("root/elsewhere/f") == "x")
    try await bench.stop()
  }

  @Test("a lock on nothing makes an empty file; shared ones stand beside each other")
  func sharedAndEmpty() async throws {
    let bench = try await Bench.start()
    let first = try await Self.lock(bench, "/new", scope: "shared", status: 201)
    #expect(bench.content("root/new") == "")
    let second = try await Self.lock(bench, "/new", scope: "shared")
    #expect(try await bench.ask("LOCK", "/new", "", Self.lockInfo()).text.contains("no-conflicting-lock"))
    #expect(try await bench.ask("PUT", "/new", "", "x").status == 423)
    #expect(try await bench.ask("PUT", "/new", "If: (<\(first)>)\r\n", "one").status == 204)
    #expect(try await bench.ask("UNLOCK", "/new", "Lock-Token: <\(first)>\r\n").status == 204)
    #expect(try await bench.ask("PUT", "/new", "If: (<\(second)>)\r\n", "two").status == 204)
    #expect(try await bench.ask("MKCOL", "/new", "If: (<\(second)>)\r\n").status == 405)
    #expect(try await bench.ask("LOCK", "/none/new", "", Self.lockInfo()).status == 409)
    #expect(try await bench.ask("LOCK", "/file-link", "", Self.lockInfo()).status == 403)
    #expect(try await bench.ask("LOCK", "/a.txt", "Depth: 1\r\n", Self.lockInfo()).status == 400)
    #expect(try await bench.ask("LOCK", "/a.txt", "", "<x xmlns='DAV:'/>").status == 400)
    #expect(bench.content("root/new") == "two" && bench.content("outside/secret") == "SECRET")
    let reading = try await Bench.start(isReadOnly: true)
    #expect(try await reading.ask("LOCK", "/new", "", Self.lockInfo()).status == 403)
    #expect(try await reading.ask("OPTIONS", "/").text.contains("dav: 1\r\n"))
    try await reading.stop()
    try await bench.stop()
  }

  @Test("locks end with their time, and there are only so many")
  func bounds() throws {
    var table = LockTable()
    let path = try FilePath(url: "/a/b")
    @discardableResult func add(_ path: FilePath, _ seconds: Int64, now: Int64) throws -> LockTable.Lock {
      try table.add(path, isDirectory: false, isExclusive: true, isDeep: false, owner: nil, seconds: seconds, now: now)
    }
    let lock = try add(path, 10, now: 100)
    #expect(throws: LockTable.Refusal.locked([path])) { try add(path, 10, now: 100) }
    table.expire(now: 109)
    #expect(throws: LockTable.Refusal.locked([path])) { try table.check(path, .itself, []) }
    #expect(throws: Never.self) { try table.check(path, .itself, [lock.token]) }
    let refreshed = table.refresh(path, [lock.token], seconds: 10, now: 105)
    #expect(refreshed?.ends == 115)
    table.expire(now: 114)
    #expect(table.count == 1)
    table.expire(now: 115)
    #expect(table.count == 0 && table.covering(path).isEmpty)
    for index in 0..<LockTable.limit { try add(FilePath(url: "/\(index)"), 10, now: 0) }
    #expect(throws: LockTable.Refusal.full) { try add(path, 10, now: 0) }
    table.expire(now: 10)
    #expect(table.count == 0)
    // Whoever locks everything a thousand times would make every listing unreadable.
    @discardableResult func share(_ path: FilePath) throws -> LockTable.Lock {
      try table.add(path, isDirectory: true, isExclusive: false, isDeep: true, owner: nil, seconds: 10, now: 10)
    }
    for _ in 0..<LockTable.limitOfPlace { try share([]) }
    #expect(throws: LockTable.Refusal.full) { try share([]) }
    try share(path)
    #expect(table.covering(path).count == LockTable.limitOfPlace + 1)
    table.expire(now: 20)
    for (field, seconds) in [
      (nil, 3600), ("Infinite", 3600), ("Second-5", 5), ("Second-0", 1), ("Extend, Second-7", 7),
      ("Second-99999999999999999999", 3600),
      ("Second--1", 3600),
      ("", 3600), ("infinite, second-2", 3600),
    ] as [(String?, Int64)] {
      #expect(LockTable.seconds(field) == seconds, "\(field ?? "nil")")
    }
  }

  @Test(
    "what is no If field is refused whole",
    arguments: [
      "", " ", "(", ")", "()", "(<a>", "<a>", "<a> <b> (<c>)", "(<>)", "([x])", "([\"x\"", "(Not)", "(Not Not <a>)",
      "(<a>) x", "x (<a>)", "([W/x])",
      String(repeating: "(<a>)", count: 300),
    ])
  func badCondition(_ text: String) { #expect(IfHeader(text) == nil) }

  @Test("an If field is read with its lists, tokens and tags")
  func condition() throws {
    let field = try #require(IfHeader("</x> (<urn:a> [\"t,)]\"])(Not <urn:b>)\t<http://h/y> (Not[W/\"w\"])"))
    #expect(field.lists.map(\.resource) == ["/x", "/x", "http://h/y"])
    #expect(field.lists.map { $0.conditions.map(\.isNegated) } == [[false, false], [true], [true]])
    #expect(field.lists[0].conditions[1].subject == .tag(EntityTag(opaque: "t,)]")))
    #expect(field.lists[2].conditions[0].subject == .tag(EntityTag(opaque: "w", isWeak: true)))
    #expect(field.tokens == ["urn:a", "urn:b"])
  }
}
