import Foundation
import JSON
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import NetworkFixture
import SwiftletShare
import Testing

@testable import ShareAgent
@testable import ShareService

/// Debian's Chromium, driven by Playwright from PyPI. `SWIFTLET_SCREENSHOTS` names a directory for pictures of every
/// page.
@Suite("A real browser", .serialized, .timeLimit(.minutes(10)))
struct BrowserTests {
  enum Screen: String, CaseIterable { case desktop, phone }

  private static let chromium = ["/usr/bin/chromium", "/usr/bin/google-chrome"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  @Test(
    "visits a share with all that its page loads, reads every error page, and manages an account; everything fits, and no name becomes markup",
    .enabled(if: chromium != nil, "there is no /usr/bin/chromium here"), arguments: Screen.allCases)
  func walk(_ screen: Screen) async throws {
    let interpreter = try await PythonEnvironment.interpreter("playwright", installing: [["playwright==1.65.2"]])
    let provider = try await FakeProvider.start()
    let bench = try await ShareBench.start(signingIn: provider) { $0.interstitial = true }
    let hostile = [
      "<script>window.owned=1</script>", "\"><img src=x onerror=window.owned=1>", "'-window.owned=1-' <b>target</b>",
    ]
    let sharer = try await Sharer.enable(bench, "ann@example.com", description: hostile[0], host: hostile[1])
    let server = try await SmallSite.start()
    let port = server.localAddress?.port ?? 0
    let probe = try await SmallSite.start()
    let closed = probe.localAddress?.port ?? 0
    try await probe.close()

    var shares: [String: SwiftletShare.Share] = [:]
    var backends: [ShareBackend] = []
    for (name, port) in [
      ("site", port), ("down", closed), ("asleep", nil), ("password", nil), ("invited", port), ("uninvited", port),
    ]
      as [(String, Int?)]
    {
      var options = ShareOptions(.public, backend: .proxy, target: hostile[2])
      if name == "password" { options.basicUsers = [("eve", "sesame")] }
      if name == "invited" { options.login = .init(provider: "corp", emailPatterns: ["*@corp.example"]) }
      if name == "uninvited" { options.login = .init(provider: "corp", emailPatterns: ["boss@corp.example"]) }
      let share = try await sharer.session.create(options)
      shares[name] = share
      guard let port else { continue }
      backends.append(
        try await ShareBackend.start(
          share, mode: .proxy, target: .server(.http, host: "127.0.0.1", port: port), overlay: sharer.session.overlay(),
          logger: bench.network.logger)
      )
    }
    try await sharer.session.createName(.init(name: "a-reserved-name-of-some-length"))
    let site = try #require(shares["site"]?.urls.first)
    let account = try #require(sharer.session.environment.enabled?.token)
    _ = try Zrok.run("/usr/bin/env", ["curl", "--silent", "--fail", "--max-time", "30", site])
    try await Network.wait("usage is counted") {
      let samples =
        await bench.call("GET", "/api/v2/metrics/account?duration=1h", account).body["samples"]?.arrayValue ?? []
      return samples.contains { $0["tx"]?.intValue ?? 0 > 0 }
    }

    var pages: JSONObject = ["zone": .string("http://share.localhost:\(bench.frontendPort)/")]
    for name in ["down", "asleep", "password"] { pages[name] = .string(shares[name]?.urls.first ?? "") }
    pages["unknown"] = .string(
      "http://\(String(repeating: "nobody-with-a-long-name.", count: 8))share.localhost:\(bench.frontendPort)/")
    let seen = try await PythonEnvironment.run(
      "browser_walk.py",
      .object([
        "chromium": .string(Self.chromium ?? ""), "site": .string(site), "pages": .object(pages),
        "console": .string(bench.endpoint),
        "email": "ann@example.com", "password": "Secret-123",
        "invited": .string(shares["invited"]?.urls.first ?? ""),
        "uninvited": .string(shares["uninvited"]?.urls.first ?? ""),
        "width": screen == .desktop ? 1280 : 390, "height": screen == .desktop ? 800 : 844,
        "screenshots": ProcessInfo.processInfo.environment["SWIFTLET_SCREENSHOTS"].map { .string($0) } ?? .null,
      ]), interpreter: interpreter)

    #expect(seen["errors"] == [])
    #expect(seen["wide"] == [])
    #expect(seen["interstitial"]?.stringValue?.contains("Before you go on") == true)
    #expect(
      seen["site"] == [
        "text": "It works through the overlay", "color": "rgb(0, 128, 64)", "image": 2, "fetched": "a second file",
        "socket": "echo hello",
      ])
    #expect(seen["again"] == "It works through the overlay")
    for (name, status, text) in [
      ("zone", 200, "Shares live here"), ("down", 502, "does not answer"), ("asleep", 502, "asleep"),
      ("password", 401, "Not allowed"),
      ("unknown", 404, "There is no share here"),
    ] {
      let page = seen["pages"]?[name]
      #expect(
        page?["status"]?.intValue == status && page?["text"]?.stringValue?.contains(text) == true,
        "\(name): \(page ?? .null)")
    }
    #expect(seen["signed in"] == ["text": "It works through the overlay", "socket": "echo hello", "again": 200])
    #expect(seen["uninvited"]?.stringValue?.contains("ann@corp.example") == true)
    #expect(seen["signed out of a share"]?.stringValue?.contains("Signed out") == true)
    #expect(seen["wrong"] == "The address or the password is wrong.")
    #expect(seen["who"] == "ann@example.com")
    #expect(seen["bars"]?.intValue ?? 0 > 0)
    for name in hostile { #expect(seen["overview"]?.stringValue?.contains(name) == true, "\(name)") }
    #expect(seen["markup"] == 0)
    #expect(seen["overview"]?.stringValue?.components(separatedBy: "Release").count == 2)
    #expect(shares.values.contains { seen["copied"] == .string($0.urls.first ?? "") }, "\(seen["copied"] ?? .null)")
    #expect(seen["deleted"] == 1)
    #expect(seen["signed out"] == true)
    #expect(seen["register"]?.stringValue?.isEmpty == false)
    #expect(await bench.call("GET", "/api/v2/overview", account).body["environments"] == [])

    for backend in backends { await backend.stop() }
    try await server.close()
    await sharer.session.close()
    await bench.stop()
    try await provider.stop()
  }
}

/// A page with a style, an image, a script that fetches, and a WebSocket that says back what it hears.
private enum SmallSite {
  static func start() async throws -> any Channel {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        let socket = NIOWebSocketServerUpgrader(shouldUpgrade: { channel, _ in
          channel.eventLoop.makeSucceededFuture([:])
        }) { channel, _ in
          channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
        }
        return channel.eventLoop.makeCompletedFuture {
          let files = Files()
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(
            withServerUpgrade: (
              upgraders: [socket],
              completionHandler: { context in context.pipeline.syncOperations.removeHandler(files, promise: nil) }
            ))
          try channel.pipeline.syncOperations.addHandler(files)
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
  }

  private static let files: [String: (type: String, text: String)] = [
    "/": (
      "text/html; charset=utf-8",
      """
      <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><link rel="icon" href="picture.svg">
      <title>Small</title><link rel="stylesheet" href="style.css"><h1>It works through the overlay</h1><img src="picture.svg" alt="">
      <script src="script.js"></script></html>
      """
    ),
    "/style.css": ("text/css", "h1 { color: rgb(0, 128, 64) }"),
    "/picture.svg": ("image/svg+xml", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"2\" height=\"2\"/>"),
    "/data.txt": ("text/plain", "a second file"),
    "/script.js": (
      "text/javascript",
      """
      fetch("data.txt").then(answer => answer.text()).then(text => {
        document.body.dataset.fetched = text;
        const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
        socket.onopen = () => socket.send("hello");
        socket.onmessage = event => { document.body.dataset.socket = event.data; socket.close() };
      });
      """
    ),
  ]

  private final class Files: ChannelInboundHandler, RemovableChannelHandler, Sendable {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard case .head(let head) = unwrapInboundIn(data) else { return }
      let file = SmallSite.files[head.uri]
      let body = ByteBuffer(string: file?.text ?? "no such file")
      context.write(
        wrapOutboundOut(
          .head(
            .init(
              version: .http1_1, status: file == nil ? .notFound : .ok,
              headers: ["content-length": "\(body.readableBytes)", "content-type": file?.type ?? "text/plain"]))),
        promise: nil)
      context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
  }

  private final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let frame = unwrapInboundIn(data)
      switch frame.opcode {
      case .text:
        let answer = ByteBuffer(string: "echo " + String(buffer: frame.unmaskedData))
        context.writeAndFlush(wrapOutboundOut(WebSocketFrame(fin: true, opcode: .text, data: answer)), promise: nil)
      case .connectionClose:
        let channel = context.channel
        context.writeAndFlush(
          wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: frame.unmaskedData))
        )
        .whenComplete { _ in channel.close(promise: nil) }
      default: break
      }
    }
  }
}
