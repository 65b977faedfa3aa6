import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NetworkFixture
import Store
import Swiftlet
import SwiftletShare
import Testing
import Tunnel
import WebRelay

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService

@Suite("The public frontend, with shares of our own SDK", .timeLimit(.minutes(8)))
struct FrontendTests {
  /// Answers with what it read, as JSON lines of its own making.
  private final class Mirror: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private var head: HTTPRequestHead?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): self.head = head
      case .body: break
      case .end:
        let text =
          (head?.headers.map { "\($0.name.lowercased()): \($0.value)" } ?? []).joined(separator: "\n")
          + "\npath: \(head?.uri ?? "")\n"
        let body = ByteBuffer(string: text)
        context.write(
          wrapOutboundOut(
            .head(
              .init(
                version: .http1_1, status: .ok,
                headers: ["content-length": "\(body.readableBytes)", "content-type": "text/plain"]))),
          promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      }
    }
  }

  static func mirror() async throws -> any Channel {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Mirror())
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
  }

  static func curl(_ arguments: String...) throws -> String {
    try Zrok.run("/usr/bin/env", ["curl", "--silent", "--show-error", "--max-time", "30"] + arguments)
  }

  @Test(
    "an account over its bandwidth: visitors read that the share is paused, and it answers again when usage has fallen")
  func paused() async throws {
    let bench = try await ShareBench.start { $0.limits.limit = .init(period: 3600, total: 100_000) }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let site = bench.network.directory + "/heavy"
    try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
    try Data(repeating: 0x61, count: 150_000).write(to: URL(fileURLWithPath: site + "/large"))
    try Data("small".utf8).write(to: URL(fileURLWithPath: site + "/small"))
    try await sharer.session.withShare(ShareOptions(.public, backend: .web, target: site)) { share in
      let backend = try await ShareBackend.start(
        share, mode: .web, target: .directory(site), overlay: sharer.session.overlay(), options: BackendOptions(),
        logger: bench.network.logger)
      let url = try #require(share.urls.first)
      #expect(try Self.curl(url + "/small") == "small")
      #expect(try Self.curl(url + "/large").utf8.count == 150_000)
      let host = try #require(share.endpoints.first?.split(separator: ":").first.map(String.init))
      while bench.core.directory.route(host)?.isPaused != true {
        try await Task.sleep(for: .milliseconds(200))
        try await bench.core.enforceLimits(try await bench.core.storeUsage())
      }
      let page = try Self.curl("--write-out", "%{http_code}", url + "/small")
      #expect(page.contains("paused") && page.hasSuffix("503"))
      try await bench.core.network.write(author: "test") { change in
        for row in try change.store.all(ShareUsageRow.self) { try change.store.delete(ShareUsageRow.self, row.id) }
      }
      try await bench.core.enforceLimits([])
      // The frontend's session learns of the service again.
      var answer = ""
      while answer != "small" {
        try await Task.sleep(for: .milliseconds(100))
        answer = try Self.curl(url + "/small")
      }
      await backend.stop()
    }
    await bench.stop()
  }

  @Test("a page through the whole path; headers tell the truth; the share ends with its owner's word")
  func wholePath() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.mirror()
    let records = NIOLockedValueBox<[RequestRecord]>([])
    var options = BackendOptions()
    options.observer = { record in records.withLockedValue { $0.append(record) } }
    options.requestHeaders = [("x-added", "here")]
    let sealed = options
    let url = try await sharer.session.withShare(ShareOptions(.public, backend: .proxy, target: "mirror")) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(), options: sealed, logger: bench.network.logger)
      let url = try #require(share.urls.first)
      let seen = try Self.curl(
        "--header", "zrok-auth-user: root", "--header", "Cookie: zrok_interstitial=1; mine=2", "--header",
        "X-Forwarded-For: 203.0.113.9",
        url + "/a?b")
      #expect(seen.contains("path: /a?b") && seen.contains("x-added: here") && seen.contains("x-proxy: zrok"))
      #expect(seen.contains("x-forwarded-for: 203.0.113.9, 127.0.0.1") && seen.contains("x-forwarded-proto: http"))
      #expect(seen.contains("host: \(share.token).share.localhost:\(bench.frontendPort)"))
      #expect(
        !seen.contains("zrok-auth-user") && !seen.contains("zrok_interstitial") && seen.contains("cookie: mine=2"))
      #expect(try Self.curl("--head", url).hasPrefix("HTTP/1.1 200"))
      let token = try #require(sharer.session.environment.enabled?.token)
      for path in [
        "share/\(share.token)", "account", "environment/\(sharer.session.environment.enabled?.identity ?? "")",
      ] {
        // As soon as the router has told: the bodies, and what heads and encryption add.
        var sent = 0
        while sent < seen.utf8.count {
          try await Task.sleep(for: .milliseconds(200))
          let metrics = await bench.call("GET", "/api/v2/metrics/\(path)?duration=1h", token)
          sent = metrics.body["samples"]?.arrayValue?.reduce(0) { $0 + ($1["tx"]?.intValue ?? 0) } ?? 0
        }
        #expect(sent < seen.utf8.count + 4096, "\(path)")
      }
      // Nobody's name, and a host that is not even one of ours.
      for host in [
        "nobody.share.localhost", "share.localhost.evil.example", "..", "\(share.token)",
        "\(share.token).other.localhost",
      ] {
        let page = try Self.curl(
          "--header", "Host: \(host)", "--write-out", "%{http_code}", "http://127.0.0.1:\(bench.frontendPort)/")
        #expect(page.hasSuffix("404"), "\(host)")
      }
      try await server.close()
      let down = try Self.curl("--write-out", "%{http_code}", url)
      #expect(down.contains("does not answer") && down.hasSuffix("502"))
      await backend.stop()
      try await Network.wait("the share is asleep") {
        try Self.curl(url).contains("asleep")
      }
      return url
    }
    #expect(try Self.curl("--write-out", "%{http_code}", url).hasSuffix("404"))
    #expect(records.withLockedValue { $0.map(\.status) }.prefix(2) == [200, 200])
    await sharer.session.close()
    await bench.stop()
  }

  @Test("a private share of HTTP at a local port: requests can be told apart, and one that sleeps says so")
  func privateAccess() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.mirror()
    let records = NIOLockedValueBox<[RequestRecord]>([])
    try await sharer.session.withShare(ShareOptions(.private, backend: .proxy, target: "mirror")) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(), options: BackendOptions(), logger: bench.network.logger)
      let granted = try await sharer.session.access(share.token)
      #expect(granted.backend == .proxy)
      let access = PrivateAccess(
        overlay: try await sharer.session.overlay(), access: granted, host: "127.0.0.1", port: 0,
        observer: { record in records.withLockedValue { $0.append(record) } }, logger: bench.network.logger)
      let url = "http://127.0.0.1:\(try await access.start().port ?? 0)"
      let running = Task { try await access.run() }
      let page = try Self.curl(url + "/a?b")
      #expect(
        page.contains("path: /a?b") && page.contains("x-proxy: zrok") && page.contains("x-forwarded-for: 127.0.0.1"),
        "\(page)")
      #expect(records.withLockedValue { $0.map(\.path) } == ["/a?b"])
      await backend.stop()
      try await Network.wait("the share sleeps") { try Self.curl("--write-out", "%{http_code}", url).hasSuffix("502") }
      #expect(try Self.curl(url).contains("asleep"))
      running.cancel()
      _ = await running.result
    }
    let token = try #require(sharer.session.environment.enabled?.token)
    let order: JSONObject = [
      "envZId": .string(sharer.session.environment.enabled?.identity ?? ""), "shareMode": "private",
      "backendMode": "proxy", "authScheme": "basic",
      "target": "x", "basicAuthUsers": [["username": "u", "password": "p"]],
    ]
    #expect(await bench.call("POST", "/api/v2/share", token, .object(order)).status == 422)
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }

  @Test("windows and requests under way are counted by share and by address, and forgotten again")
  func quotas() {
    var limits = FrontendLimits()
    limits.requestsPerShare = 5
    limits.requestsPerAddress = 3
    limits.concurrentPerShare = 2
    limits.window = .seconds(10)
    let quota = FrontendQuota(limits)
    let start = NIODeadline.now()
    func ask(_ share: String, _ address: String, at seconds: Int64) -> String {
      switch quota.admit(share: share, address: address, now: start + .seconds(seconds)) {
      case .admitted: "admitted"
      case .shareBusy(let wait): "share \(wait)"
      case .addressBusy(let wait): "address \(wait)"
      }
    }
    #expect((0..<4).map { ask("a", "192.0.2.1", at: $0) } == ["admitted", "admitted", "admitted", "address 8"])
    // Another share does not give the address more, another address does; one IPv6 network is one.
    #expect(
      ask("b", "192.0.2.1", at: 4) == "address 7" && ask("a", "2001:db8::1", at: 4) == "admitted"
        && ask("a", "2001:db8::2", at: 4) == "admitted")
    #expect(ask("a", "192.0.2.9", at: 5) == "share 6" && ask("b", "2001:db8:0:0:9::", at: 5) == "admitted")
    #expect(ask("b", "[2001:db8::3]", at: 5) == "address 10" && ask("b", "2001:db9::3", at: 5) == "admitted")
    #expect(ask("a", "192.0.2.1", at: 10) == "admitted")
    var leases = [quota.admit(share: "c", address: "x", now: start), quota.admit(share: "c", address: "y", now: start)]
    #expect(ask("c", "z", at: 0) == "share 1" && !quota.isIdle)
    leases.removeAll()
    #expect(ask("c", "z", at: 0) == "admitted" && quota.isIdle)
  }

  @Test("a share with as many requests as it may have sends more away, until one ends")
  func concurrency() async throws {
    let bench = try await ShareBench.start { $0.limits.frontend.concurrentPerShare = 1 }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.mirror()
    try await sharer.session.withShare(ShareOptions(.public, backend: .proxy, target: "mirror")) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(), options: BackendOptions(), logger: bench.network.logger)
      let url = try #require(share.urls.first)
      for _ in 0..<3 { #expect(try Self.curl("--write-out", "%{http_code}", url).hasSuffix("200")) }
      // One after the other on one connection.
      #expect(
        try Self.curl("--output", "/dev/null", "--write-out", "%{http_code}", url, "--output", "/dev/null", url)
          == "200200")
      let slow = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(
        host: "127.0.0.1", port: bench.frontendPort
      ).get()
      try await slow.writeAndFlush(
        ByteBuffer(string: "POST / HTTP/1.1\r\nHost: \(share.token).share.localhost\r\nContent-Length: 10\r\n\r\nabc"))
      try await Network.wait("the second request is one too many") {
        let page = try Self.curl("--include", url)
        return page.hasPrefix("HTTP/1.1 429") && page.lowercased().contains("retry-after: 1")
          && page.contains("This share is busy")
      }
      try await slow.close()
      try await Network.wait("there is room again") {
        try Self.curl("--write-out", "%{http_code}", url).hasSuffix("200")
      }
      await backend.stop()
    }
    try await server.close()
    await bench.stop()
  }

  @Test("a password guards a share; what is proven once is not hashed again")
  func passwords() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.mirror()
    var options = ShareOptions(.public, backend: .proxy)
    options.basicUsers = [("eve", "open: sesame"), ("adam", "apple")]
    try await sharer.session.withShare(options) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(), logger: bench.network.logger)
      let url = try #require(share.urls.first)
      let asked = try Self.curl("--include", url)
      #expect(
        asked.hasPrefix("HTTP/1.1 401")
          && asked.lowercased().contains("www-authenticate: basic realm=\"\(share.token)\""))
      for wrong in ["eve:apple", "adam:", ":", "mallory:apple"] {
        #expect(
          try Self.curl("--user", wrong, "--output", "/dev/null", "--write-out", "%{http_code}", url) == "401",
          "\(wrong)")
      }
      for _ in 0..<3 {
        let seen = try Self.curl("--user", "eve:open: sesame", url)
        #expect(seen.contains("zrok-auth-provider: basic") && seen.contains("zrok-auth-user: eve"))
      }
      await backend.stop()
    }
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }

  @Test("a directory over HTTP and as a drive; a private share over a stream, closed to other accounts")
  func directoryAndStream() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let other = try await Sharer.enable(bench, "bob@example.com")
    let site = bench.network.directory + "/site"
    try FileManager.default.createDirectory(atPath: site, withIntermediateDirectories: true)
    try Data("<h1>photos".utf8).write(to: URL(fileURLWithPath: site + "/index.html"))
    var named = ShareOptions(.public, backend: .web, target: site)
    named.names = [.init(name: "photos")]
    try await sharer.session.withShare(named) { share in
      #expect(share.urls == ["http://photos.share.localhost:\(bench.frontendPort)"])
      let backend = try await ShareBackend.start(
        share, mode: .web, target: BackendTarget.recognise(site), overlay: sharer.session.overlay(),
        logger: bench.network.logger)
      #expect(try Self.curl(try #require(share.urls.first)) == "<h1>photos")
      await backend.stop()
    }
    try await sharer.session.withShare(ShareOptions(.public, backend: .drive, target: site)) { share in
      let backend = try await ShareBackend.start(
        share, mode: .drive, target: .directory(site), overlay: sharer.session.overlay(), logger: bench.network.logger)
      let url = try #require(share.urls.first)
      let big = bench.network.directory + "/big"
      let content = Data((0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 7) })
      try content.write(to: URL(fileURLWithPath: big))
      #expect(try Self.curl("--upload-file", big, "--write-out", "%{http_code}", url + "/stored") == "201")
      #expect(FileManager.default.contents(atPath: site + "/stored") == content)
      #expect(
        try Self.curl("--request", "PROPFIND", "--header", "Depth: 1", url + "/").contains("<D:href>/stored</D:href>"))
      #expect(try Self.curl("--request", "DELETE", "--write-out", "%{http_code}", url + "/stored") == "204")
      await backend.stop()
    }
    try await sharer.session.withShare(ShareOptions(.private)) { share in
      let listener = try await sharer.session.listen(share)
      await #expect(throws: ShareError.self) { _ = try await other.session.access(share.token) }
      try await sharer.session.withAccess(share.token) { access in
        let echo = Task {
          for try await stream in listener {
            for try await bytes in stream { try await stream.write(bytes) }
            try await stream.finish()
          }
        }
        let stream = try await sharer.session.dial(access.shareToken)
        try await stream.write(ByteBuffer(string: "hello"))
        try await stream.finish()
        var all = ""
        for try await bytes in stream { all += String(buffer: bytes) }
        #expect(all == "hello")
        echo.cancel()
      }
      await listener.close()
    }
    await sharer.session.close()
    await other.session.close()
    await bench.stop()
  }

  @Test("a public TCP share has a port of the pool, until it ends; without a pool there are none")
  func tcpPort() async throws {
    // A port that was free a moment ago.
    let probe = try await Self.mirror()
    let port = try #require(probe.localAddress?.port)
    try await probe.close()
    let bench = try await ShareBench.start { $0.tcpPorts = port...port }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.mirror()
    try await sharer.session.withShare(ShareOptions(.public, backend: .tcpTunnel)) { share in
      #expect(share.urls == ["tcp://share.localhost:\(port)"])
      let backend = try await ShareBackend.start(
        share, mode: .tcpTunnel, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(), logger: bench.network.logger)
      try await Network.wait("the port answers") {
        (try? Self.curl("http://127.0.0.1:\(port)/through"))?.contains("path: /through") == true
      }
      // The pool is used up.
      await #expect(throws: ShareError.self) {
        _ = try await sharer.session.create(ShareOptions(.public, backend: .tcpTunnel))
      }
      await backend.stop()
    }
    try await Network.wait("the port is closed") { (try? Self.curl("http://127.0.0.1:\(port)/")) == nil }
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }

  /// Sends every datagram back, with its length in front; a datagram `burst` gets twenty answers.
  private final class DatagramMirror: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let envelope = unwrapInboundIn(data)
      let isBurst = String(buffer: envelope.data) == "burst"
      for index in 0..<(isBurst ? 20 : 1) {
        var answer = ByteBuffer(string: isBurst ? "\(index):" : "\(envelope.data.readableBytes):")
        answer.writeImmutableBuffer(envelope.data)
        context.write(
          wrapOutboundOut(AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: answer)), promise: nil)
      }
      context.flush()
    }
  }

  /// Sends datagrams from a socket of its own, one after the other's answers.
  private static func exchange(port: Int, _ texts: [(send: String, answers: Int)]) async throws -> [String] {
    // On a thread that may wait.
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: Result { try blockingExchange(port: port, texts) }) }
    }
  }

  private static func blockingExchange(port: Int, _ texts: [(send: String, answers: Int)]) throws -> [String] {
    let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    defer { Foundation.close(socket) }
    var patience = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    try SocketAddress(ipAddress: "127.0.0.1", port: port).withSockAddr { address, size in
      guard connect(socket, address, socklen_t(size)) == 0 else { throw Network.Failure("connect: \(errno)") }
    }
    var answers: [String] = []
    for (text, count) in texts {
      _ = text.withCString { Foundation.send(socket, $0, strlen($0), 0) }
      for _ in 0..<count {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let length = recv(socket, &bytes, bytes.count, 0)
        guard length >= 0 else { throw Network.Failure("no answer to \(text.prefix(20)): \(errno)") }
        answers.append(String(decoding: bytes[..<length], as: UTF8.self))
      }
    }
    return answers
  }

  @Test(
    "datagrams keep their boundaries, through an access and through a public port; each source has a flow of its own")
  func datagrams() async throws {
    let probe = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(
      host: "127.0.0.1", port: 0
    ).get()
    let port = try #require(probe.localAddress?.port)
    try await probe.close()
    let bench = try await ShareBench.start { $0.udpPorts = port...port }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64 * 1024))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(DatagramMirror()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let target = try BackendTarget.recognise("udp://127.0.0.1:\(server.localAddress?.port ?? 0)")
    #expect(target.defaultMode == .udpTunnel)
    let long = String(repeating: "x", count: 16 * 1024)
    let talk: [(send: String, answers: Int)] = [("one", 1), (long, 1), ("burst", 20), ("four", 1)]
    let expected = ["3:one", "16384:" + long] + (0..<20).map { "\($0):burst" } + ["4:four"]

    let isPublic = ShareOptions(.public, backend: .udpTunnel)
    try await sharer.session.withShare(isPublic) { share in
      #expect(share.urls == ["udp://share.localhost:\(port)"])
      let backend = try await ShareBackend.start(
        share, mode: .udpTunnel, target: target, overlay: sharer.session.overlay(), logger: bench.network.logger)
      try await Network.wait("the port answers") {
        (try? await Self.exchange(port: port, [("hello", 1)])) == ["5:hello"]
      }
      let isRight = try await Self.exchange(port: port, talk) == expected
      #expect(isRight)
      await backend.stop()
    }

    try await sharer.session.withShare(ShareOptions(.private, backend: .udpTunnel)) { share in
      let backend = try await ShareBackend.start(
        share, mode: .udpTunnel, target: target, overlay: sharer.session.overlay(), logger: bench.network.logger)
      try await sharer.session.withAccess(share.token) { access in
        #expect(access.backend == .udpTunnel)
        let tunnel = ProxyTunnel(
          overlay: try await sharer.session.overlay(), service: share.token, host: "127.0.0.1", port: 0,
          transport: .udp, logger: bench.network.logger
        )
        let local = try #require(try await tunnel.start().port)
        let running = Task { try await tunnel.run() }
        try await withThrowingTaskGroup(of: [String].self) { group in
          for _ in 0..<4 { group.addTask { try await Self.exchange(port: local, talk) } }
          for try await answers in group {
            let isRight = answers == expected
            #expect(isRight)
          }
        }
        try await PathProof.run(share.token, overlay: sharer.session.overlay())
        running.cancel()
        _ = await running.result
      }
      await backend.stop()
    }
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }

  @Test("a Caddyfile is a share, with Debian's Caddy behind it; Caddy ends with the share")
  func caddy() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let file = sharer.directory + "/Caddyfile"
    try "http:// {\n  bind {{ .ZrokBindAddress }}\n  respond /hello \"caddy says {http.request.header.x-proxy}\"\n}\n"
      .write(
        toFile: file, atomically: true, encoding: .utf8)
    let target = try BackendTarget.recognise(file)
    #expect(target.defaultMode == .caddy)
    try await sharer.session.withShare(ShareOptions(.public, backend: .caddy)) { share in
      let url = try #require(share.urls.first)
      for _ in 0..<2 {
        let backend = try await ShareBackend.start(
          share, mode: .caddy, target: target, overlay: sharer.session.overlay(), logger: bench.network.logger)
        try await Network.wait("Caddy answers") { try Self.curl(url + "/hello") == "caddy says zrok" }
        await backend.stop()
      }
      try "http:// {\n  respond hi\n}\n".write(toFile: file, atomically: true, encoding: .utf8)
      await #expect(throws: ShareBackend.Mismatch.self) {
        _ = try await ShareBackend.start(
          share, mode: .caddy, target: target, overlay: sharer.session.overlay(), logger: bench.network.logger)
      }
      try "http:// {\n  bind {{.ZrokBindAddress}}\n  no_such_directive\n}\n".write(
        toFile: file, atomically: true, encoding: .utf8)
      await #expect(throws: ShareBackend.Mismatch.self) {
        _ = try await ShareBackend.start(
          share, mode: .caddy, target: target, overlay: sharer.session.overlay(), logger: bench.network.logger)
      }
    }
    await sharer.session.close()
    await bench.stop()
  }

  @Test("an interstitial stands before a browser's first look, and only there")
  func interstitial() async throws {
    let bench = try await ShareBench.start { $0.interstitial = true }
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.mirror()
    try await sharer.session.withShare(ShareOptions(.public, backend: .proxy)) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(), logger: bench.network.logger)
      let url = try #require(share.urls.first)
      func browse(_ arguments: String...) throws -> String {
        try Zrok.run(
          "/usr/bin/env",
          ["curl", "--silent", "--max-time", "30", "--user-agent", "Mozilla/5.0 (X11)"] + arguments + [url])
      }
      let page = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
      #expect(try browse("--header", page).contains("Before you go on"))
      #expect(try browse("--header", page, "--cookie", "zrok_interstitial=1").contains("path: /"))
      #expect(try browse("--header", page, "--header", "skip_zrok_interstitial: 1").contains("path: /"))
      // What scripts and images of a page ask for, a form, and the handshake of a WebSocket.
      #expect(try browse("--header", "Accept: application/json").contains("path: /"))
      #expect(try browse("--header", page, "--data", "x").contains("path: /"))
      #expect(
        try browse("--header", page, "--header", "Connection: Upgrade", "--header", "Upgrade: websocket").contains(
          "path: /"))
      #expect(try Self.curl(url).contains("path: /"))
      await backend.stop()
    }
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }
}
