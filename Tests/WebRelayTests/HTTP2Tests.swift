import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import WebRelay

/// curl is the client: it speaks HTTP/2 without TLS when told to.
@Suite("The relay over HTTP/2", .timeLimit(.minutes(5)))
struct HTTP2Tests {
  struct Failure: Error { let text: String }

  static func curl(_ arguments: String...) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["curl", "--silent", "--show-error", "--max-time", "20", "--http2-prior-knowledge"] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failure(text: text) }
    return text
  }

  @Test("requests with and without bodies, and failures")
  func relays() async throws {
    let bench = try await RelayBench.start { TestServer($0) }
    let target = Upstream(
      key: "h2", connect: try TCPConnector.make(host: "127.0.0.1", port: bench.upstream.localAddress?.port ?? 0))
    let pool = UpstreamPool()
    // One loop, since each has pooled connections of its own: every request finds what the one before it left.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let server = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        HTTPRelay.configureHTTP2(
          channel, remoteAddress: "192.0.2.2", isTLS: true, pool: pool,
          judge: { head, info in
            var head = head
            ForwardedHeaders.add(to: &head.headers, info: info)
            return info.loop.makeSucceededFuture(.relay(upstream: target, head: head))
          })
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let url = "http://127.0.0.1:\(server.localAddress?.port ?? 0)"
    let seen = try Self.curl("--include", url + "/a?b")
    #expect(seen.hasPrefix("HTTP/2 200") && seen.hasSuffix("path /a?b"))
    let head = try #require(bench.seen.requests.withLockedValue { $0.first })
    #expect(head.headers["x-forwarded-for"] == ["192.0.2.2"] && head.headers["x-forwarded-proto"] == ["https"])
    #expect(head.headers["host"].count == 1 && !head.headers.contains(name: "transfer-encoding"))
    let body = String(repeating: "twenty-seven characters long", count: 40_000)
    let file = NSTemporaryDirectory() + "swiftlet-h2-" + UUID().uuidString
    try Data(body.utf8).write(to: URL(fileURLWithPath: file))
    defer { try? FileManager.default.removeItem(atPath: file) }
    #expect(try Self.curl("--data-binary", "@" + file, url + "/echo") == body)
    #expect(try Self.curl("--header", "Content-Length:", "--data-binary", "@" + file, url + "/echo") == body)
    #expect(try Self.curl("--head", url + "/x").hasPrefix("HTTP/2 200"))
    #expect(try Self.curl(url + "/chunked") == "path /chunked")
    // Debian's curl cannot use such a connection twice, so each has its own here.
    for number in 1...5 { #expect(try Self.curl(url + "/\(number)") == "path /\(number)") }
    #expect(throws: Failure.self) { try Self.curl(url + "/cut") }
    // That one took its connection along; this leaves another.
    #expect(try Self.curl(url + "/again") == "path /again")
    try await bench.upstream.close()
    // What was pooled ends with the next use.
    #expect(try Self.curl("--write-out", "%{http_code}", "--request", "POST", url + "/dies").hasSuffix("200"))
    #expect(try Self.curl("--write-out", "%{http_code}", url + "/down").contains("does not answer"))
    try await server.close()
    try await bench.relay.close()
    try await group.shutdownGracefully()
  }
}
