import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NetworkFixture
import SwiftletShare
import Testing
import WebRelay

@testable import ShareAgent
@testable import ShareFrontend
@testable import ShareService

/// What is changed between a visitor, who knows the share's address, and a server, which knows its own.
@Suite("Servers behind shares, by their addresses", .timeLimit(.minutes(5)))
struct SharedServerTests {
  private static func server(_ target: String, _ header: BackendOptions.HostHeader = .keep) throws -> SharedServer {
    var options = BackendOptions()
    options.hostHeader = header
    guard case .server(let scheme, let host, let port, let path) = try BackendTarget.recognise(target) else {
      throw Network.Failure("\(target) is no server")
    }
    return try SharedServer(scheme, host: host, port: port, path: path, options)
  }

  private static func head(_ uri: String) -> HTTPRequestHead {
    HTTPRequestHead(
      version: .http1_1, method: .GET, uri: uri,
      headers: ["host": "photos.share.example:8080", "x-forwarded-proto": "https"])
  }

  @Test("servers as people write them: ports, paths, sockets")
  func targets() throws {
    for (text, target) in [
      ("8000", .server(.http, host: "localhost", port: 8000)), ("443", .server(.https, host: "localhost", port: 443)),
      ("http://127.0.0.1:8080/app", .server(.http, host: "127.0.0.1", port: 8080, path: "/app")),
      ("HTTP://127.0.0.1:8080/", .server(.http, host: "127.0.0.1", port: 8080)),
      ("https://example.com/a/b?key=1#top", .server(.https, host: "example.com", port: 443, path: "/a/b?key=1")),
      ("localhost:3000/app/", .server(.http, host: "localhost", port: 3000, path: "/app/")),
      ("http://[::1]:3000?x", .server(.http, host: "::1", port: 3000, path: "?x")),
      ("unix:/run/app.sock", .socket("/run/app.sock")), ("unix:///run/app.sock", .socket("/run/app.sock")),
      ("UNIX:/run/../run/app.sock", .socket("/run/../run/app.sock")),
      ("unix:app.sock", .socket(FileManager.default.currentDirectoryPath + "/app.sock")),
    ] as [(String, BackendTarget)] {
      #expect(try BackendTarget.recognise(text) == target, "\(text)")
      #expect(try BackendTarget.recognise(target.description) == target, "\(target)")
    }
    #expect(try BackendTarget.recognise("unix:/run/app.sock").defaultMode == .proxy)
    #expect(try BackendTarget.recognise("53", for: .udpTunnel) == .server(.udp, host: "127.0.0.1", port: 53))
    for text in [
      "tcp://127.0.0.1:22/home", "unix:", "unix:/", "unix:/" + String(repeating: "x", count: 120),
      "http://user:secret@127.0.0.1/",
    ] {
      #expect(throws: BackendTarget.Unclear.self, "\(text)") { try BackendTarget.recognise(text) }
    }
  }

  @Test("requests go below the target's path, and never above it")
  func joins() throws {
    for (target, asked, passed) in [
      ("http://127.0.0.1:1", "/x?y", "/x?y"), ("http://127.0.0.1:1/app", "/", "/app/"),
      ("http://127.0.0.1:1/app/", "/x/y", "/app/x/y"),
      ("http://127.0.0.1:1/app", "/x?a=1&b", "/app/x?a=1&b"), ("http://127.0.0.1:1/app?key=1", "/x", "/app/x?key=1"),
      ("http://127.0.0.1:1/app?key=1", "/x?a=1", "/app/x?key=1&a=1"), ("http://127.0.0.1:1?key=1", "/?", "/?key=1"),
      ("http://127.0.0.1:1/app", "/a/../b", "/app/a/../b"),
      ("http://127.0.0.1:1/app", "/%C3%BC;v=1", "/app/%C3%BC;v=1"),
      ("http://127.0.0.1:1/app", "*", "*"), ("http://127.0.0.1:1", "/../x", "/../x"),
    ] {
      var head = Self.head(asked)
      let isBelow = try Self.server(target).rewrite(&head)
      #expect(isBelow && head.uri == passed, "\(target) \(asked): \(head.uri)")
      #expect(head.headers["host"] == ["photos.share.example:8080"])
    }
    for asked in [
      "/..", "/../admin", "/a/../../admin", "/%2e%2e/admin", "/..%2fadmin", "/.%2E\\admin", "/..;x/admin",
      "/./../admin", "//../admin",
    ] {
      var head = Self.head(asked)
      let isBelow = try Self.server("http://127.0.0.1:1/app").rewrite(&head)
      #expect(!isBelow, "\(asked)")
    }
  }

  @Test("places of its own that a server names are the visitor's: its host where we made it up, its path always")
  func places() throws {
    func seen(_ server: SharedServer, _ field: String, _ value: String) -> String? {
      var answer = HTTPResponseHead(version: .http1_1, status: .found, headers: [field: value])
      server.answering(Self.head("/"))?(&answer)
      return answer.headers.first(name: field)
    }
    let own = try Self.server("http://127.0.0.1:3000", .target)
    for (said, shown) in [
      ("http://127.0.0.1:3000/login?to=/x#y", "https://photos.share.example:8080/login?to=/x#y"),
      ("https://127.0.0.1:3000/", "https://photos.share.example:8080/"),
      ("HTTP://localhost:3000", "https://photos.share.example:8080/"),
      ("http://[::1]:3000/x", "https://photos.share.example:8080/x"),
      ("//127.0.0.1:3000/x", "https://photos.share.example:8080/x"),
      ("/login", "/login"), ("login", "login"), ("http://127.0.0.1:3001/", "http://127.0.0.1:3001/"),
      ("http://127.0.0.1/", "http://127.0.0.1/"),
      (
        "https://accounts.example.com/?to=http://127.0.0.1:3000/",
        "https://accounts.example.com/?to=http://127.0.0.1:3000/"
      ),
      ("http://127.0.0.1:3000@evil.example/", "http://127.0.0.1:3000@evil.example/"), ("mailto:a@b", "mailto:a@b"),
    ] {
      #expect(seen(own, "location", said) == shown, "\(said)")
    }
    #expect(seen(own, "content-location", "http://127.0.0.1:3000/x") == "https://photos.share.example:8080/x")
    #expect(seen(own, "set-cookie", "a=b; Domain=localhost; Path=/; HttpOnly") == "a=b; Path=/; HttpOnly")
    #expect(seen(own, "set-cookie", "a=domain=localhost; Secure") == "a=domain=localhost; Secure")
    let named = try Self.server("http://127.0.0.1:3000", .value("shop.internal"))
    for said in [
      "http://shop.internal/x", "https://shop.internal/x", "http://shop.internal:3000/x", "http://127.0.0.1:3000/x",
    ] {
      #expect(seen(named, "location", said) == "https://photos.share.example:8080/x", "\(said)")
    }
    #expect(seen(named, "set-cookie", "a=b; domain=.shop.internal") == "a=b")
    // The server answers as the one the visitor asked: what it says is right.
    let kept = try Self.server("http://127.0.0.1:3000")
    #expect(kept.answering(Self.head("/")) == nil)
    let below = try Self.server("http://127.0.0.1:3000/app")
    for (said, shown) in [
      ("/app/login?x", "/login?x"), ("/app", "/"), ("/app?x", "/?x"), ("/apple", "/apple"), ("/other", "/other"),
      ("https://photos.share.example:8080/app/x", "https://photos.share.example:8080/x"),
      ("http://127.0.0.1:3000/app/x", "http://127.0.0.1:3000/app/x"), ("x", "x"),
    ] {
      #expect(seen(below, "location", said) == shown, "\(said)")
    }
    #expect(seen(below, "set-cookie", "a=b; Path=/app; Secure") == "a=b; Path=/; Secure")
    let both = try Self.server("http://127.0.0.1:3000/app", .target)
    #expect(seen(both, "location", "http://127.0.0.1:3000/app/x") == "https://photos.share.example:8080/x")
  }

  /// Answers each request with what it read of it, and `/away` with a way to itself.
  private final class Namer: ChannelInboundHandler, Sendable {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard case .head(let head) = unwrapInboundIn(data) else { return }
      let host = head.headers.first(name: "host") ?? ""
      let body = ByteBuffer(string: "\(head.method.rawValue) \(head.uri) at \(host)")
      var fields: HTTPHeaders = ["content-length": "\(body.readableBytes)"]
      if head.uri.hasSuffix("/away") { fields.add(name: "location", value: "http://\(host)/there") }
      context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: .ok, headers: fields))), promise: nil)
      context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
  }

  private static var bootstrap: ServerBootstrap {
    ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Namer())
        }
      }
  }

  @Test("the whole way to a server on ::1 alone, at a socket, below a path, and with TLS that nobody believes")
  func wholePath() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let identity = try ShareBench.certificate()
    let secure = try await ShareBench.start { $0.frontend.identity = identity }
    func visit(_ target: BackendTarget, _ configure: (inout BackendOptions) -> Void = { _ in }, _ arguments: String...)
      async throws -> String
    {
      var options = BackendOptions()
      configure(&options)
      let (sealed, arguments) = (options, arguments)
      return try await sharer.session.withShare(ShareOptions(.public, backend: .proxy, target: target.description)) {
        share in
        let backend = try await ShareBackend.start(
          share, mode: .proxy, target: target, overlay: sharer.session.overlay(), options: sealed,
          logger: bench.network.logger)
        let url = try #require(share.urls.first)
        let text = try Zrok.run(
          "/usr/bin/env",
          ["curl", "--silent", "--include", "--max-time", "30"] + arguments.map { $0.replacing("URL", with: url) })
        await backend.stop()
        return text
      }
    }
    // Where this machine has no IPv6 at all there is nothing to be found.
    if let six = try? await Self.bootstrap.bind(host: "::1", port: 0).get() {
      let target = try BackendTarget.recognise("\(six.localAddress?.port ?? 0)")
      #expect(await target.isSilent() == false)
      let text = try await visit(target, { $0.hostHeader = .target }, "URL/x")
      #expect(text.hasSuffix("GET /x at localhost:\(six.localAddress?.port ?? 0)"), "\(text)")
      try await six.close()
    }
    let path = NSTemporaryDirectory() + "s-" + String(UInt32.random(in: .min ... .max), radix: 36)
    #expect(await BackendTarget.socket(path).isSilent())
    let local = try await Self.bootstrap.bind(unixDomainSocketPath: path).get()
    #expect(await BackendTarget.socket(path).isSilent() == false)
    #expect(try await visit(.socket(path), { _ in }, "URL/x").contains("GET /x at "))
    #expect(try await visit(.socket(path), { $0.hostHeader = .target }, "URL/x").hasSuffix("GET /x at localhost"))
    try await local.close()
    try? FileManager.default.removeItem(atPath: path)

    let server = try await Self.bootstrap.bind(host: "127.0.0.1", port: 0).get()
    let port = server.localAddress?.port ?? 0
    let away = try await visit(
      BackendTarget.recognise("http://127.0.0.1:\(port)/app"), { $0.hostHeader = .target }, "URL/away")
    #expect(away.hasSuffix("GET /app/away at 127.0.0.1:\(port)"))
    let location = try #require(away.firstMatch(of: /(?i)location: (\S+)/)?.1)
    #expect(
      location.hasPrefix("http://") && location.hasSuffix(".share.localhost:\(bench.frontendPort)/there"), "\(location)"
    )
    let above = try await visit(
      BackendTarget.recognise("http://127.0.0.1:\(port)/app"), { _ in }, "--path-as-is", "URL/../secret")
    #expect(above.hasPrefix("HTTP/1.1 400"), "\(above)")
    try await server.close()

    // A frontend of ours with a certificate of its own.
    let records = NIOLockedValueBox<[RequestRecord]>([])
    let unbelieved = BackendTarget.server(.https, host: "127.0.0.1", port: secure.frontendPort)
    let refused = try await visit(
      unbelieved, { $0.observer = { record in records.withLockedValue { $0.append(record) } } }, "URL/")
    #expect(
      refused.hasPrefix("HTTP/1.1 502") && refused.contains("certificate") && refused.contains("--insecure"),
      "\(refused)")
    let failure = records.withLockedValue { $0.first?.failure } ?? ""
    #expect(failure.contains("--insecure"), "\(failure)")
    #expect(try await visit(unbelieved, { $0.insecure = true }, "URL/").hasPrefix("HTTP/1.1 404"))
    let plain = BackendTarget.server(.https, host: "127.0.0.1", port: bench.frontendPort)
    #expect(try await visit(plain, { $0.insecure = true }, "URL/").contains("TLS"))
    await sharer.session.close()
    await secure.stop()
    await bench.stop()
  }

  @Test("a browser's question whether another origin may ask passes the password; other questions do not")
  func preflight() async throws {
    let bench = try await ShareBench.start()
    let sharer = try await Sharer.enable(bench, "ann@example.com")
    let server = try await Self.bootstrap.bind(host: "127.0.0.1", port: 0).get()
    var options = ShareOptions(.public, backend: .proxy)
    options.basicUsers = [("eve", "sesame")]
    try await sharer.session.withShare(options) { share in
      let backend = try await ShareBackend.start(
        share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: server.localAddress?.port ?? 0),
        overlay: sharer.session.overlay(),
        logger: bench.network.logger)
      let url = try #require(share.urls.first)
      let (origin, wish) = (
        ["--header", "Origin: https://app.example"], ["--header", "Access-Control-Request-Method: PUT"]
      )
      for (more, method, status) in [
        (origin + wish, "OPTIONS", "200"), (origin, "OPTIONS", "401"), (wish, "OPTIONS", "401"), ([], "OPTIONS", "401"),
        (origin + wish, "PUT", "401"),
        (origin + wish + ["--data", "x"], "OPTIONS", "401"),
      ] {
        let text = try Zrok.run(
          "/usr/bin/env",
          ["curl", "--silent", "--max-time", "30", "--request", method, "--write-out", "%{http_code}"] + more + [
            url + "/api"
          ])
        #expect(text.hasSuffix(status), "\(method) \(more): \(text)")
      }
      await backend.stop()
    }
    try await server.close()
    await sharer.session.close()
    await bench.stop()
  }

  private static let browser =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"

  @Test("the warning page is for people who go somewhere with a browser, and for nothing else that a browser asks for")
  func interstitial() {
    let page = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    func shows(_ method: HTTPMethod, _ fields: [(String, String)], agent: String? = Self.browser) -> Bool {
      PublicFrontend.wantsInterstitial(
        HTTPRequestHead(
          version: .http1_1, method: method, uri: "/",
          headers: HTTPHeaders(fields + (agent.map { [("user-agent", $0)] } ?? []))))
    }
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    #expect(
      shows(.GET, [("accept", page)]) && shows(.HEAD, [("accept", page)])
        && shows(.GET, [("accept", page)] + navigation))
    #expect(shows(.GET, [("Accept", "application/xml, application/xhtml+xml")]))
    #expect(!shows(.GET, [("accept", page)], agent: "curl/8.5") && !shows(.GET, [("accept", page)], agent: nil))
    #expect(!shows(.POST, [("accept", page)]) && !shows(.OPTIONS, [("accept", page)]))
    for accept in [
      "application/json", "*/*", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
      "text/event-stream", "text/html;q=0",
    ] {
      #expect(!shows(.GET, [("accept", accept)]), "\(accept)")
    }
    #expect(!shows(.GET, []))
    for (mode, destination) in [
      ("cors", "empty"), ("no-cors", "image"), ("websocket", "websocket"), ("navigate", "iframe"),
      ("same-origin", "document"),
    ] {
      #expect(
        !shows(.GET, [("accept", page), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)]),
        "\(mode) \(destination)")
    }
    #expect(!shows(.GET, [("accept", page), ("upgrade", "websocket")]))
    #expect(
      !shows(.GET, [("accept", page), ("skip_zrok_interstitial", "1")])
        && !shows(.GET, [("accept", page), ("cookie", "zrok_interstitial=1")]))
  }
}
