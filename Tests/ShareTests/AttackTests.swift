import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NetworkFixture
import PKI
import SwiftletShare
import Testing
import Transport

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService

/// Every attack goes the whole way, or as far as it gets: public frontend, overlay, backend, server. `WebRelayTests`
/// has the same classes piece by piece.
@Suite("Attacks on public shares", .serialized, .timeLimit(.minutes(10)))
struct AttackTests {
  // MARK: What is attacked

  /// Two shares of one account, the second behind a password, each with a server of its own that records what it reads.
  private struct Target {
    let bench: ShareBench
    let sharer: Sharer
    let open: (host: String, server: Recorder)
    let guarded: (host: String, server: Recorder)
    let backends: [ShareBackend]

    static func start(_ configure: (inout ShareConfiguration) -> Void = { _ in }) async throws -> Target {
      let bench = try await ShareBench.start(configure)
      let sharer = try await Sharer.enable(bench, "ann@example.com")
      var made: [(String, Recorder)] = []
      var backends: [ShareBackend] = []
      for users in [[], [("eve", "sesame")]] {
        var options = ShareOptions(.public, backend: .proxy)
        options.basicUsers = users
        options.isWindowed = ShareBackend.isWindowed(options.backend)
        let share = try await sharer.session.create(options)
        let server = try await Recorder.start()
        backends.append(
          try await ShareBackend.start(
            share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.port),
            overlay: sharer.session.overlay(),
            logger: bench.network.logger))
        made.append(("\(share.token).share.localhost", server))
      }
      return Target(bench: bench, sharer: sharer, open: made[0], guarded: made[1], backends: backends)
    }

    func stop() async throws {
      for backend in backends { await backend.stop() }
      for (_, server) in [open, guarded] { try await server.channel.close() }
      await sharer.session.close()
      await bench.stop()
    }

    func send(_ text: String) async throws -> String { try await RawRequest.send(text, port: bench.frontendPort) }

    /// An honest request gets its own answer: no connection behind the frontend is out of step.
    func expectInStep(_ attack: String) async throws {
      let path = "/probe-\(UInt32.random(in: 0 ... .max))"
      let answer = try await send("GET \(path) HTTP/1.1\r\nHost: \(open.host)\r\nConnection: close\r\n\r\n")
      #expect(
        answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("GET \(path) HTTP/1.1"),
        "after \(attack): \(answer.suffix(300))")
    }
  }

  private static func status(_ answer: String) -> Int { Int(answer.dropFirst(9).prefix(3)) ?? 0 }

  // MARK: Smuggling

  /// `HOST` stands for the share's host, `NEXT` for a request that must never be one.
  private static let ambiguous: [String] = [
    // Both lengths, in both orders.
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nNEXT\r\n0\r\n\r\n",
    // A coding that one of two servers may not see.
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \u{B}chunked\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nX: y\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nX: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\n\u{0}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\u{0}\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
    "POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nNEXT",
    // Lengths that are none, or several.
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nContent-Length: 92\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0, 92\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: +0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0x0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0 0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 18446744073709551616\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length : 0\r\n\r\nNEXT",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length:\r\n\r\nNEXT",
    // Heads that end somewhere else for another reader.
    "GET / HTTP/1.1\r\nHost: HOST\r\nX: y\u{0}\r\n\r\nNEXT",
    "GET / HTTP/1.1\r\nHost: HOST\r\nX y\r\n\r\nNEXT",
    "GET / HTTP/1.1\r\nHost: HOST\r\n: y\r\n\r\nNEXT",
    "GET / HTTP/1.1\r\n Host: HOST\r\n\r\nNEXT",
    "GET  / HTTP/1.1 HTTP/1.1\r\nHost: HOST\r\n\r\nNEXT",
    "GET / HTTP/1.1 \r\nHost: HOST\u{0}\r\n\r\nNEXT",
    "GET\t/\tHTTP/1.1\r\nHost: HOST\u{1}\r\n\r\nNEXT",
    "GET / HTTP/2.0\r\nHost: HOST\r\n\r\nNEXT",
    "GET / HTTP/0.9\r\nHost: HOST\r\n\r\nNEXT",
  ]

  /// A good head, and chunks that are none; the server may see that one request begin.
  private static let chunks: [String] = [
    "-1\r\nNEXT", "+5\r\nhello\r\n0\r\n\r\nNEXT", "0x5\r\nhello\r\n0\r\n\r\nNEXT", "fffffffffffffffff\r\nNEXT",
    "10000000000000000\r\nNEXT",
    "zz\r\nNEXT",
    "\r\nNEXT", "5 \u{0}\r\nhello\r\n0\r\n\r\nNEXT", "5;x\nhello\r\n0\r\n\r\nNEXT", "5\rhello\r\n0\r\n\r\nNEXT",
    "5\nhello\n0\n\nNEXT",
    "5\r\nhelloX\r\n0\r\n\r\nNEXT",
    "5\r\nhello0\r\n\r\nNEXT", "0\r\nX: y\r\n : NEXT", "0\r\nX: \u{0}\r\n\r\nNEXT",
    "5;a=\"\r\n\"hello\r\n0\r\n\r\nNEXT",
  ]

  @Test("what two servers could read differently arrives as one request or not at all")
  func smuggling() async throws {
    let target = try await Target.start()
    let next = "GET /smuggled HTTP/1.1\r\nHost: \(target.guarded.host)\r\nX-Next: yes\r\n\r\n"
    func filled(_ text: String) -> String {
      text.replacing("HOST", with: target.open.host).replacing("NEXT", with: next)
    }
    // All at once: each is a connection of its own.
    let answers = try await withThrowingTaskGroup(of: (String, String).self) { group in
      for attack in Self.ambiguous { group.addTask { (attack, try await target.send(filled(attack))) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for (attack, answer) in answers {
      #expect(
        answer.isEmpty || (400..<500).contains(Self.status(answer)), "\(attack.debugDescription): \(answer.prefix(200))"
      )
    }
    #expect(target.open.server.bytes.isEmpty, "\(target.open.server.bytes)")
    try await target.expectInStep("ambiguous heads")
    for chunk in Self.chunks {
      let head = "POST /chunks HTTP/1.1\r\nHost: \(target.open.host)\r\nTransfer-Encoding: chunked\r\n\r\n"
      let answer = try await target.send(head + filled(chunk))
      #expect(answer.components(separatedBy: "HTTP/1.1 200").count <= 2, "\(chunk.debugDescription): \(answer)")
      try await target.expectInStep(chunk.debugDescription)
    }
    // Chunk extensions are dropped, and trailers cannot become fields or requests.
    let trailing = try await target.send(
      filled(
        "POST /trailing HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;a=b\r\nhello\r\n0\r\nContent-Length: 50\r\nHost: x\r\n\r\n"
      ))
    #expect(Self.status(trailing) == 200 || Self.status(trailing) == 400, "\(trailing.prefix(300))")
    try await target.expectInStep("trailers")
    // A body that looks like a request is a body.
    let inside = try await target.send(
      "POST /inside HTTP/1.1\r\nHost: \(target.open.host)\r\nConnection: close\r\nContent-Length: \(next.utf8.count)\r\n\r\n\(next)"
    )
    #expect(inside.hasSuffix("POST /inside HTTP/1.1"))
    // A body where none is expected belongs to its request as well.
    let unusual = try await target.send(
      "GET /unusual HTTP/1.1\r\nHost: \(target.open.host)\r\nConnection: close\r\nContent-Length: \(next.utf8.count)\r\n\r\n\(next)"
    )
    #expect(unusual.hasSuffix("GET /unusual HTTP/1.1"))
    let paths = Set(target.open.server.requests.map { $0.line.split(separator: "-")[0] })
    #expect(
      paths.isSubset(of: [
        "POST /chunks HTTP/1.1", "POST /trailing HTTP/1.1", "POST /inside HTTP/1.1", "GET /unusual HTTP/1.1",
        "GET /probe",
      ]),
      "\(paths)")
    #expect(
      target.open.server.requests.filter { $0.line == "POST /inside HTTP/1.1" || $0.line.hasPrefix("GET /unusual") }
        .map(\.body) == [next, next])
    #expect(target.guarded.server.bytes.isEmpty)
    try await target.stop()
  }

  @Test("HTTP/2 requests that could become two, or another, in HTTP/1.1 reach the server as one or not at all")
  func http2() async throws {
    let identity = try ShareBench.certificate()
    let target = try await Target.start { $0.frontend.identity = identity }
    let seen = try await PythonEnvironment.run(
      "http2_attacks.py",
      [
        "port": JSONValue(target.bench.frontendPort), "host": .string(target.open.host),
        "other": .string(target.guarded.host),
      ])
    for (name, outcome) in seen.objectValue ?? [:] {
      let outcome = outcome.stringValue ?? ""
      switch name {
      case "good", "good body", "good after": #expect(outcome == "status 200", "\(name)")
      case "flood of resets", "flood of continuations", "flood of pings", "flood of settings", "flood of empty data":
        #expect(["closed", "stalled"].contains(outcome), "\(name): \(outcome)")
      // Cost nothing but their reading.
      case "flood of priorities", "flood of windows": break
      case "authority of another", "handshake for another": #expect(outcome == "status 401", "\(name)")
      // Trailers end here, whatever they say.
      case "pseudo field in trailers", "length in trailers", "line in trailers":
        #expect(["status 200", "reset", "goaway", "closed"].contains(outcome), "\(name): \(outcome)")
      default:
        #expect(
          ["reset", "goaway", "closed", "status 400", "status 431", "status 404"].contains(outcome),
          "\(name): \(outcome)")
      }
    }
    #expect(seen.objectValue?.count ?? 0 > 30)
    let paths = Set(target.open.server.requests.map(\.line))
    // A head may be on its way before the body turns out to be longer than it says.
    #expect(
      paths.isSubset(of: [
        "GET /flood HTTP/1.1", "POST /trailers HTTP/1.1", "GET /good HTTP/1.1", "POST /good-body HTTP/1.1",
        "POST /short HTTP/1.1",
        "GET /good-after HTTP/1.1",
      ]), "\(paths)")
    #expect(!target.open.server.bytes.contains("smuggled"), "\(target.open.server.bytes)")
    #expect(target.guarded.server.bytes.isEmpty)
    try await target.stop()
  }

  // MARK: Hosts and targets

  @Test("no form of host or target leads to a share past its password, or to anything that is no share")
  func hosts() async throws {
    let target = try await Target.start()
    let (open, guarded, port) = (target.open.host, target.guarded.host, target.bench.frontendPort)
    let stranger = try await Recorder.start()
    let elsewhere = "127.0.0.1:\(stranger.port)"
    let close = "Connection: close\r\n\r\n"
    for (request, statuses) in [
      ("GET / HTTP/1.1\r\nHost: \(guarded)\r\n", [401]),
      ("GET / HTTP/1.1\r\nHost: \(guarded):\(port)\r\n", [401]),
      ("GET / HTTP/1.1\r\nHost: \(guarded.uppercased())\r\n", [401]),
      ("GET / HTTP/1.1\r\nHost: \(guarded).\r\n", [401, 404]),
      ("GET / HTTP/1.1\r\nHost: \(guarded):80@\(open)\r\n", [400]),
      ("GET / HTTP/1.1\r\nHost: user:password@\(guarded)\r\n", [400]),
      ("GET / HTTP/1.1\r\nHost: \(open)\r\nHost: \(guarded)\r\n", [400]),
      ("GET / HTTP/1.1\r\nHost: \(open), \(guarded)\r\n", [400]),
      ("GET / HTTP/1.1\r\nHost: \(open)\u{0}\(guarded)\r\n", [400]),
      ("GET / HTTP/1.1\r\nHost : \(guarded)\r\n", [400]),
      ("GET / HTTP/1.1\r\nHost:\r\n", [400, 404]),
      ("GET / HTTP/1.1\r\nX: y\r\n", [400]),
      ("GET / HTTP/1.0\r\n", [404]),
      ("GET / HTTP/1.1\r\nHost: \(elsewhere)\r\n", [404]),
      ("GET / HTTP/1.1\r\nHost: [::1]:\(stranger.port)\r\n", [404]),
      ("GET / HTTP/1.1\r\nHost: \(guarded)\r\nAuthorization: Basic ZXZlOndyb25n\r\n", [401]),
      (
        "GET / HTTP/1.1\r\nHost: \(guarded)\r\nAuthorization: Basic ZXZlOndyb25n\r\nAuthorization: Basic ZXZlOnNlc2FtZQ==\r\n",
        [401]
      ),
      (
        "GET / HTTP/1.1\r\nHost: \(guarded)\r\nProxy-Authorization: Basic ZXZlOnNlc2FtZQ==\r\nzrok-auth-user: eve\r\n",
        [401]
      ),
      // Targets that are more than a path.
      ("GET http://\(guarded)/ HTTP/1.1\r\nHost: \(open)\r\n", [400, 401]),
      ("GET http://\(elsewhere)/ HTTP/1.1\r\nHost: \(open)\r\n", [400, 404]),
      ("GET HTTP://\(elsewhere)/ HTTP/1.1\r\nHost: \(elsewhere)\r\n", [400, 404]),
      ("GET \(elsewhere)/ HTTP/1.1\r\nHost: \(open)\r\n", [400]),
      ("GET @\(elsewhere)/ HTTP/1.1\r\nHost: \(open)\r\n", [400]),
      ("GET ?x HTTP/1.1\r\nHost: \(open)\r\n", [400]),
      ("GET \\\\\(elsewhere)\\ HTTP/1.1\r\nHost: \(open)\r\n", [400]),
      ("CONNECT \(elsewhere) HTTP/1.1\r\nHost: \(elsewhere)\r\n", [400, 405]),
      ("CONNECT \(open):80 HTTP/1.1\r\nHost: \(open)\r\n", [400, 405]),
    ] as [(String, [Int])] {
      let answer = try await target.send(request + close)
      // A reader that stops before the head's end closes, which is as good.
      #expect(
        answer.isEmpty ? statuses.contains(400) : statuses.contains(Self.status(answer)),
        "\(request.debugDescription): \(answer.prefix(200))")
    }
    #expect(target.guarded.server.bytes.isEmpty && target.open.server.bytes.isEmpty && stranger.bytes.isEmpty)

    // What names another place in a path or a field stays in it.
    for (path, field) in [
      ("//\(elsewhere)/x", ""), ("/http://\(elsewhere)/x", ""), ("/x", "X-Forwarded-Host: \(guarded)\r\n"),
      ("/x", "X-Original-URL: /y\r\n"),
      ("/x", "Forwarded: host=\(guarded)\r\n"),
    ] {
      let answer = try await target.send("GET \(path) HTTP/1.1\r\nHost: \(open)\r\n\(field)" + close)
      #expect(answer.hasSuffix("GET \(path) HTTP/1.1"), "\(path) \(field): \(answer.prefix(200))")
    }
    // One connection, two shares: what opens the first opens nothing of the second.
    let both = try await target.send(
      "GET /first HTTP/1.1\r\nHost: \(open)\r\n\r\nGET /second HTTP/1.1\r\nHost: \(guarded)\r\n" + close)
    #expect(both.contains("GET /first") && both.contains("HTTP/1.1 401") && !both.contains("GET /second"))
    // Nobody's password is another share's, also after it was good once.
    let good = "Authorization: Basic ZXZlOnNlc2FtZQ==\r\n"
    #expect(
      try await target.send("GET /in HTTP/1.1\r\nHost: \(guarded)\r\n\(good)" + close).hasSuffix("GET /in HTTP/1.1"))
    #expect(Self.status(try await target.send("GET /again HTTP/1.1\r\nHost: \(guarded)\r\n" + close)) == 401)
    #expect(target.guarded.server.requests.map(\.line) == ["GET /in HTTP/1.1"] && stranger.bytes.isEmpty)
    #expect(target.open.server.requests.allSatisfy { $0.line.hasPrefix("GET /") })
    try await stranger.channel.close()
    try await target.stop()
  }

  // MARK: Sizes

  @Test("heads of absurd size are refused, by length and by number, and cost others nothing")
  func bigHeads() async throws {
    let target = try await Target.start()
    let host = "Host: \(target.open.host)\r\n"
    let mebibyte = String(repeating: "c", count: 1 << 20)
    for (name, request) in [
      ("cookie", "GET / HTTP/1.1\r\n\(host)Cookie: a=\(mebibyte)\r\n\r\n"),
      (
        "cookies",
        "GET / HTTP/1.1\r\n\(host)\(String(repeating: "Cookie: a=\(mebibyte.prefix(4000))\r\n", count: 260))\r\n"
      ),
      ("fields", "GET / HTTP/1.1\r\n\(host)\((0..<20_000).map { "X-\($0): y\r\n" }.joined())\r\n"),
      ("field name", "GET / HTTP/1.1\r\n\(host)\(mebibyte): y\r\n\r\n"),
      ("target", "GET /\(mebibyte) HTTP/1.1\r\n\(host)\r\n"),
      ("method", "\(mebibyte.uppercased()) / HTTP/1.1\r\n\(host)\r\n"),
      ("host", "GET / HTTP/1.1\r\nHost: \(mebibyte)\r\n\r\n"),
      ("blank lines", String(repeating: "\r\n", count: 1 << 19) + "BAD\r\n\r\n"),
      ("password", "GET / HTTP/1.1\r\nHost: \(target.guarded.host)\r\nAuthorization: Basic \(mebibyte)\r\n\r\n"),
    ] {
      let answer = try await target.send(request)
      #expect(answer.isEmpty || (400..<500).contains(Self.status(answer)), "\(name): \(answer.prefix(200))")
    }
    let trailers = try await target.send(
      "POST /trailers HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n0\r\n\((0..<20_000).map { "X-\($0): y\r\n" }.joined())\r\n"
    )
    #expect(!trailers.hasPrefix("HTTP/1.1 200"), "\(trailers.prefix(200))")
    #expect(target.guarded.server.bytes.isEmpty)
    #expect(target.open.server.requests.map { String($0.line.prefix(100)) } == [])
    try await target.expectInStep("absurd heads")
    try await target.stop()
  }

  // MARK: Slowness

  @Test("2000 clients that send a byte a second are cut off, and one that behaves is answered all the while")
  func slowClients() async throws {
    let count = ProcessInfo.processInfo.environment["SWIFTLET_SLOW_CLIENTS"].flatMap(Int.init) ?? 2000
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = max(limit.rlim_cur, rlim_t(count + 1000))
    limit.rlim_max = max(limit.rlim_max, limit.rlim_cur)
    try #require(
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0,
      "this process may not have \(limit.rlim_cur) open files")
    let target = try await Target.start()
    try await target.expectInStep("nothing yet")
    let before = Self.residentKiB()
    let highest = NIOLockedValueBox(before)
    let sampling = Task {
      while !Task.isCancelled {
        let now = Self.residentKiB()
        highest.withLockedValue { $0 = max($0, now) }
        try await Task.sleep(for: .milliseconds(100))
      }
    }
    let seen = try await PythonEnvironment.run(
      "slow_clients.py",
      [
        "port": JSONValue(target.bench.frontendPort), "host": .string(target.open.host), "count": JSONValue(count),
        "seconds": 90,
      ])
    sampling.cancel()
    #expect(seen["connected"]?.intValue == count, "\(seen)")
    #expect(seen["left"] == 0, "\(seen)")
    #expect(seen["bad"] == 0 && seen["good"]?.intValue ?? 0 > 0, "\(seen)")
    // A slow client costs a connection's state and one small buffer, not what it might send at most.
    let grown = (highest.withLockedValue { $0 } - before) / count
    #expect(grown < 64, "\(grown) KiB for each slow client")
    #expect(
      target.open.server.requests.allSatisfy { $0.line == "GET /good HTTP/1.1" || $0.line.hasPrefix("GET /probe") })
    if ProcessInfo.processInfo.environment["SWIFTLET_SLOW_CLIENTS"] != nil {
      print("slow clients: \(seen) \(grown) KiB each, \(before) KiB before")
    }
    try await target.stop()
  }

  @Test("64 clients that ask for a big file and do not read hold up neither its share nor another one")
  func slowReaders() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let size = 32 << 20
    var hosts: [String] = []
    var backends: [ShareBackend] = []
    for name in ["big", "small"] {
      let site = bench.network.directory + "/" + name
      try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
      try Data("the page".utf8).write(to: URL(fileURLWithPath: site + "/page"))
      try Data(count: size).write(to: URL(fileURLWithPath: site + "/file"))
      var options = ShareOptions(.public, backend: .web)
      options.isWindowed = ShareBackend.isWindowed(.web)
      let share = try await sharer.session.create(options)
      backends.append(
        try await ShareBackend.start(
          share, mode: .web, target: .directory(site), overlay: sharer.session.overlay(), logger: bench.network.logger))
      hosts.append("\(share.token).share.localhost")
    }
    let seen = try await PythonEnvironment.run(
      "slow_readers.py",
      ["port": JSONValue(bench.frontendPort), "big": .string(hosts[0]), "small": .string(hosts[1]), "count": 64])
    #expect(seen["good"] == 40, "\(seen)")
    #expect(seen["size"]?.intValue ?? 0 > size, "\(seen)")
    for backend in backends { await backend.stop() }
    await sharer.session.close()
    await bench.stop()
  }

  private static func residentKiB() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    return status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }.flatMap {
      Int($0.split(separator: " ").dropFirst().first ?? "")
    } ?? 0
  }

  // MARK: Markup

  @Test("a hostile host, name or path is text on every page that shows it")
  func markup() async throws {
    let target = try await Target.start()
    let mark = "\"'><b>x<img"
    for host in ["\(mark).share.localhost", "<b>\(target.open.host)", "&lt;b>.share.localhost"] {
      let answer = try await target.send("GET / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
      #expect([400, 404].contains(Self.status(answer)), "\(answer.prefix(100))")
      #expect(!answer.contains("<b>") && !answer.contains("<img"), "\(answer)")
      if answer.hasPrefix("HTTP/1.1 404") {
        #expect(answer.contains("&lt;b&gt;") || answer.contains("&amp;lt;b&gt;"), "\(answer)")
      }
    }
    let account = try #require(target.sharer.session.environment.enabled?.token)
    for name in [mark, "a b", "a\r\nx: y", "<script>", "..", ""] {
      #expect(
        (400..<500).contains(
          await target.bench.call("POST", "/api/v2/share/name", account, ["name": .string(name)]).status), "\(name)")
    }
    var options = ShareOptions(.public, backend: .proxy)
    options.token = mark
    let marked = options
    await #expect(throws: (any Error).self) { _ = try await target.sharer.session.create(marked) }

    let directory = target.bench.network.directory + "/marked"
    try FileManager.default.createDirectory(atPath: directory + "/sub", withIntermediateDirectories: true)
    try Data("x".utf8).write(to: URL(fileURLWithPath: directory + "/sub/\(mark)"))
    let share = try await target.sharer.session.create(ShareOptions(.public, backend: .web, target: mark))
    let backend = try await ShareBackend.start(
      share, mode: .web, target: .directory(directory), overlay: target.sharer.session.overlay(),
      logger: target.bench.network.logger)
    for path in ["/sub/", "/none\(mark.replacing(" ", with: ""))", "/%3Cb%3E", "/sub/%22%27%3E%3Cb%3E"] {
      let answer = try await target.send(
        "GET \(path) HTTP/1.1\r\nHost: \(share.token).share.localhost\r\nConnection: close\r\n\r\n")
      #expect(!answer.contains("<b>") && !answer.contains("<img"), "\(path): \(answer)")
    }
    await backend.stop()
    try await target.stop()
  }

  // MARK: Drives

  @Test("no path and no destination leaves a drive, whatever its spelling, and whatever changes meanwhile")
  func drive() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let base = bench.network.directory + "/drive"
    let files = FileManager.default
    for directory in ["root/sub", "outside/sub"] {
      try files.createDirectory(atPath: base + "/" + directory, withIntermediateDirectories: true)
    }
    for (path, text) in [
      ("root/a", "inside"), ("root/sub/f", "inside"), ("outside/secret", "SECRET"), ("outside/sub/f", "SECRET"),
    ] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: base + "/" + path))
    }
    try files.createSymbolicLink(atPath: base + "/root/link", withDestinationPath: "../outside")
    try files.createSymbolicLink(atPath: base + "/root/absolute", withDestinationPath: base + "/outside/secret")
    let share = try await sharer.session.create(ShareOptions(.public, backend: .drive, target: "drive"))
    let backend = try await ShareBackend.start(
      share, mode: .drive, target: .directory(base + "/root"), overlay: sharer.session.overlay(),
      logger: bench.network.logger)
    let host = "\(share.token).share.localhost:\(bench.frontendPort)"
    let port = bench.frontendPort
    @Sendable func ask(_ method: String, _ path: String, _ fields: String = "", _ body: String = "") async throws
      -> String
    {
      try await RawRequest.send(
        "\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\n\(fields)Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)",
        port: port)
    }
    let outside = [
      "/../outside/secret", "/sub/../../outside/secret", "/%2e%2e/outside/secret", "/%2E%2E%2Foutside%2Fsecret",
      "/.%2e/outside/secret",
      "/%252e%252e/outside/secret", "/%25252e%25252e/outside/secret", "/..%5Coutside%5Csecret", "/..\\outside\\secret",
      "/%c0%ae%c0%ae/outside/secret",
      "/%e0%80%ae%e0%80%ae/outside/secret", "/%ef%bc%8e%ef%bc%8e/outside/secret", "/a%00/../../outside/secret",
      "/..%00/outside/secret",
      "/...//outside/secret",
      "/./../outside/secret", "//../outside/secret", "/;/../../outside/secret", "/..;/outside/secret",
      "/%2e%2e%3b/outside/secret", "/link/secret",
      "/link/sub/f",
      "/absolute", "/%u002e%u002e/outside/secret", "/%/..%2", base + "/outside/secret", "/proc/self/environ",
      "/sub/%2f..%2f..%2foutside/secret",
      "/" + String(repeating: "x", count: 5000), String(repeating: "/d", count: 3000),
    ]
    let reads: [(String, String, String)] = [
      ("GET", "", ""), ("PROPFIND", "Depth: 1\r\n", ""), ("PUT", "", "evil"), ("DELETE", "", ""), ("MKCOL", "", ""),
      ("COPY", "Destination: /stolen\r\n", ""), ("MOVE", "Destination: /stolen\r\n", ""),
    ]
    try await withThrowingTaskGroup(of: Void.self) { group in
      for path in outside {
        group.addTask {
          // Names that only look like a way out are names; they are not there, and PUT may not make directories.
          for (method, fields, body) in reads {
            let answer = try await ask(method, path, fields, body)
            #expect(
              answer.isEmpty || (400..<500).contains(Self.status(answer)),
              "\(method) \(path.prefix(80)): \(answer.prefix(100))")
            #expect(!answer.contains("SECRET") && !answer.contains("root:"))
          }
          for method in ["COPY", "MOVE"] {
            for destination in [path, "http://\(host)\(path)"] {
              let answer = try await ask(method, "/a", "Destination: \(destination)\r\n")
              #expect(
                answer.isEmpty || (400..<500).contains(Self.status(answer)),
                "\(method) to \(destination.prefix(80)): \(answer.prefix(100))")
            }
          }
        }
      }
      for destination in [
        "http://elsewhere.example/x", "http://\(host)@elsewhere.example/x", "http://\(host).elsewhere.example/x",
        "//elsewhere.example/x",
        "file:///tmp/x",
        "http://\(host)", "x", "", "http:///x", "\\x", "http://\(host)\\..\\x",
      ] {
        group.addTask {
          let answer = try await ask("MOVE", "/a", "Destination: \(destination)\r\n")
          #expect(Self.status(answer) >= 400 && Self.status(answer) <= 502, "to \(destination): \(answer.prefix(100))")
        }
      }
      try await group.waitForAll()
    }
    func content(_ path: String) -> String? { try? String(contentsOfFile: base + "/" + path, encoding: .utf8) }
    #expect(content("root/a") == "inside" && content("root/stolen") == nil && content("outside/secret") == "SECRET")

    // A directory and a symlink to the outside change places all the time.
    let turning = NIOLockedValueBox(true)
    let turned = NIOLockedValueBox(0)
    Thread.detachNewThread {
      let path = base + "/root/sub"
      while turning.withLockedValue({ $0 }) {
        rename(path, base + "/aside")
        symlink(base + "/outside/sub", path)
        unlink(path)
        rename(base + "/aside", path)
        turned.withLockedValue { $0 += 1 }
      }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<4 {
        group.addTask {
          for round in 0..<25 {
            #expect(try await !ask("GET", "/sub/f").contains("SECRET"))
            _ = try await ask("PUT", "/sub/new-\(worker)", "", "evil")
            _ = try await ask("DELETE", "/sub/f-\(round)")
            _ = try await ask("COPY", "/a", "Destination: /sub/copied-\(worker)\r\n")
            #expect(try await !ask("PROPFIND", "/sub", "Depth: 1\r\n").contains("outside"))
          }
        }
      }
      try await group.waitForAll()
    }
    turning.withLockedValue { $0 = false }
    #expect(turned.withLockedValue { $0 } > 100)
    #expect(
      try files.contentsOfDirectory(atPath: base + "/outside/sub") == ["f"] && content("outside/sub/f") == "SECRET")
    #expect(Set(try files.contentsOfDirectory(atPath: base + "/outside")) == ["secret", "sub"])
    await backend.stop()
    await sharer.session.close()
    await bench.stop()
  }
}

/// A server that keeps every byte it reads, takes requests apart in its own way, and answers each with its first line.
private final class Recorder: Sendable {
  struct Request: Sendable {
    let line: String
    let body: String
  }

  let channel: any Channel
  private let seen: NIOLockedValueBox<(bytes: String, requests: [Request])>

  var port: Int { channel.localAddress?.port ?? 0 }
  var bytes: String { seen.withLockedValue { $0.bytes } }
  var requests: [Request] { seen.withLockedValue { $0.requests } }

  private init(_ channel: any Channel, _ seen: NIOLockedValueBox<(bytes: String, requests: [Request])>) {
    self.channel = channel
    self.seen = seen
  }

  static func start() async throws -> Recorder {
    let seen = NIOLockedValueBox((bytes: "", requests: [Request]()))
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Reader(seen)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return Recorder(channel, seen)
  }

  private final class Reader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let seen: NIOLockedValueBox<(bytes: String, requests: [Request])>
    private var rest = ""

    init(_ seen: NIOLockedValueBox<(bytes: String, requests: [Request])>) { self.seen = seen }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let text = String(buffer: unwrapInboundIn(data))
      seen.withLockedValue { $0.bytes += text }
      rest += text
      while let request = take() {
        seen.withLockedValue { $0.requests.append(request) }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: \(request.line.utf8.count)\r\n\r\n\(request.line)"
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
      }
    }

    private func take() -> Request? {
      guard let end = rest.range(of: "\r\n\r\n") else { return nil }
      let lines = rest[..<end.lowerBound].components(separatedBy: "\r\n")
      let behind = rest[end.upperBound...]
      func field(_ name: String) -> String? {
        lines.dropFirst().first { $0.lowercased().hasPrefix(name + ":") }.map {
          $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
        }
      }
      var body = ""
      var next = behind.startIndex
      if field("transfer-encoding") != nil {
        guard let last = behind.range(of: "0\r\n"), let done = behind[last.lowerBound...].range(of: "\r\n\r\n") else {
          return nil
        }
        body = String(behind[..<last.lowerBound])
        next = done.upperBound
      } else if let length = field("content-length").flatMap({ Int($0) }) {
        guard behind.utf8.count >= length else { return nil }
        next = behind.utf8.index(behind.startIndex, offsetBy: length)
        body = String(behind[..<next])
      }
      rest = String(behind[next...])
      return Request(line: lines[0], body: body)
    }
  }
}

/// Bytes as they stand, on a connection of their own.
private enum RawRequest {
  /// - Returns: everything until the server closed. Half a second after its last word the client closes its side.
  static func send(_ text: String, port: Int) async throws -> String {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: Result { try exchange(Array(text.utf8), port: port) }) }
    }
  }

  private static func exchange(_ bytes: [UInt8], port: Int) throws -> String {
    let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    try SocketAddress(ipAddress: "127.0.0.1", port: port).withSockAddr { address, size in
      guard connect(socket, address, socklen_t(size)) == 0 else { throw Network.Failure("connect: \(errno)") }
    }
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Foundation.send(socket, $0.baseAddress?.advanced(by: sent), bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      // Refused before the end.
      guard count > 0 else { break }
      sent += count
    }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    for patience in [timeval(tv_sec: 0, tv_usec: 500_000), timeval(tv_sec: 30, tv_usec: 0)] {
      var patience = patience
      setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
      while true {
        let count = recv(socket, &buffer, buffer.count, 0)
        if count == 0 || (count < 0 && errno == ECONNRESET) { return String(decoding: answer, as: UTF8.self) }
        if count < 0 { break }
        answer += buffer[..<count]
      }
      shutdown(socket, Int32(SHUT_WR))
    }
    throw Network.Failure("no end of an answer: \(String(decoding: answer.prefix(500), as: UTF8.self))")
  }
}
