import Foundation
import NIOCore
import NIOPosix
import Testing

@testable import WebRelay

@Suite("A directory as a web site", .timeLimit(.minutes(5)))
struct FileSiteTests {
  /// A site in a directory of its own, beside a secret that is not shared.
  private struct Bench {
    let base: String
    let channel: any Channel

    static func start() async throws -> Bench {
      let base = NSTemporaryDirectory() + "swiftlet-site-" + UUID().uuidString
      let files = FileManager.default
      try files.createDirectory(atPath: base + "/root/sub/deep", withIntermediateDirectories: true)
      try files.createDirectory(atPath: base + "/outside", withIntermediateDirectories: true)
      for (path, text) in [
        ("root/index.html", "<p>index"), ("root/a.txt", "0123456789"), ("root/sub/b.css", "b{}"), ("outside/secret", "SECRET"),
        ("root/sub/<img src=x onerror=alert(1)>.txt", "x"),
      ] { try Data(text.utf8).write(to: URL(fileURLWithPath: base + "/" + path)) }
      try files.createSymbolicLink(atPath: base + "/root/leaves", withDestinationPath: "../outside/secret")
      try files.createSymbolicLink(atPath: base + "/root/leavesdir", withDestinationPath: base + "/outside")
      try files.createSymbolicLink(atPath: base + "/root/stays", withDestinationPath: "sub/b.css")
      try files.createSymbolicLink(atPath: base + "/root/staysdir", withDestinationPath: base + "/root/sub")
      try files.createSymbolicLink(atPath: base + "/root/loop", withDestinationPath: "loop")
      _ = mkfifo(base + "/root/pipe", 0o600)
      let site = try FileSite(root: base + "/root")
      let channel = try await ServerBootstrap(group: RelayBench.group)
        .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try site.configure(channel, remoteAddress: "") } }
        .bind(host: "127.0.0.1", port: 0).get()
      return Bench(base: base, channel: channel)
    }

    func stop() async throws {
      try await channel.close()
      try? FileManager.default.removeItem(atPath: base)
    }

    func get(_ path: String, method: String = "GET", _ fields: String = "") async throws -> String {
      let client = try await RawClient.connect(port: channel.localAddress?.port ?? 0)
      try await client.send("\(method) \(path) HTTP/1.1\r\nHost: a\r\n\(fields)Connection: close\r\n\r\n")
      return try await client.rest()
    }
  }

  @Test("files, the index, redirects, listings")
  func serves() async throws {
    let bench = try await Bench.start()
    #expect(try await bench.get("/").hasSuffix("\r\n\r\n<p>index"))
    let css = try await bench.get("/sub/b.css")
    #expect(css.hasSuffix("b{}") && css.contains("content-type: text/css; charset=utf-8") && css.contains("nosniff"))
    let moved = try await bench.get("/sub")
    #expect(moved.hasPrefix("HTTP/1.1 301") && moved.contains("location: /sub/\r\n"))
    // Never the address of another host.
    #expect(try await !bench.get("//sub").contains("location: //"))
    let listing = try await bench.get("/sub/")
    #expect(listing.contains("href=\"deep/\"") && listing.contains("href=\"../\""))
    #expect(!listing.contains("<img") && listing.contains("&lt;img"))
    #expect(try await bench.get("/none").hasPrefix("HTTP/1.1 404"))
    #expect(try await bench.get("/a.txt/").hasPrefix("HTTP/1.1 404"))
    #expect(try await bench.get("/a.txt/x").hasPrefix("HTTP/1.1 404"))
    let post = try await bench.get("/a.txt", method: "POST")
    #expect(post.hasPrefix("HTTP/1.1 405") && post.contains("allow: GET, HEAD"))
    let head = try await bench.get("/a.txt", method: "HEAD")
    #expect(head.contains("content-length: 10") && head.hasSuffix("\r\n\r\n"))
    try await bench.stop()
  }

  @Test("ranges and validators")
  func ranges() async throws {
    let bench = try await Bench.start()
    for (range, status, body) in [
      ("bytes=0-3", 206, "0123"), ("bytes=4-", 206, "456789"), ("bytes=-3", 206, "789"), ("bytes=8-100", 206, "89"),
      ("bytes=-100", 206, "0123456789"),
      ("bytes=10-", 416, ""), ("bytes=-0", 416, ""), ("bytes=5-2", 200, "0123456789"), ("bytes=0-1,3-4", 200, "0123456789"),
      ("bytes=a-b", 200, "0123456789"), ("bytes=99999999999999999999-", 200, "0123456789"), ("lines=1-2", 200, "0123456789"),
    ] {
      let answer = try await bench.get("/a.txt", "Range: \(range)\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 \(status)") && answer.hasSuffix("\r\n\r\n" + body), "\(range): \(answer)")
    }
    let first = try await bench.get("/a.txt")
    let tag = try #require(first.split(separator: "\r\n").first { $0.hasPrefix("etag: ") }?.dropFirst(6))
    #expect(try await bench.get("/a.txt", "If-None-Match: \"x\", \(tag)\r\n").hasPrefix("HTTP/1.1 304"))
    #expect(try await bench.get("/a.txt", "If-None-Match: \"x\"\r\n").hasPrefix("HTTP/1.1 200"))
    #expect(try await bench.get("/a.txt", "Range: bytes=0-3\r\nIf-Range: \"old\"\r\n").hasPrefix("HTTP/1.1 200"))
    #expect(try await bench.get("/a.txt", "Range: bytes=0-3\r\nIf-Range: \(tag)\r\n").hasPrefix("HTTP/1.1 206"))
    try await bench.stop()
  }

  @Test(
    "nothing outside is served",
    arguments: [
      "/../outside/secret", "/sub/../../outside/secret", "/%2e%2e/outside/secret", "/%2e%2e%2foutside%2fsecret", "/..%2foutside%2fsecret",
      "/%252e%252e/outside/secret", "/..%5coutside%5csecret", "/..\\outside\\secret", "/%00", "/a.txt%00.html", "/%c0%ae%c0%ae/outside/secret", "/%",
      "/%2",
      "/%zz", "/leaves", "/leavesdir/secret", "/leavesdir/", "/leavesdir", "/sub/../leaves", "/pipe", "/loop", "//../outside/secret",
      "/.//../outside/secret",
      "/....//outside/secret", "/sub/%2e%2e/%2e%2e/outside/secret",
    ])
  func confined(_ path: String) async throws {
    let bench = try await Bench.start()
    let answer = try await bench.get(path)
    #expect(answer.hasPrefix("HTTP/1.1 4"), "\(path): \(answer.prefix(100))")
    #expect(!answer.contains("SECRET"))
    try await bench.stop()
  }

  @Test("symlinks that stay inside are followed")
  func symlinks() async throws {
    let bench = try await Bench.start()
    #expect(try await bench.get("/stays").hasSuffix("b{}"))
    #expect(try await bench.get("/staysdir/b.css").hasSuffix("b{}"))
    try await bench.stop()
  }

  @Test("a symlink put in place of a directory, again and again, never leads outside")
  func race() async throws {
    let bench = try await Bench.start()
    let (base, files) = (bench.base, FileManager.default)
    try files.createDirectory(atPath: base + "/root/swap", withIntermediateDirectories: true)
    try Data("inside".utf8).write(to: URL(fileURLWithPath: base + "/root/swap/secret"))
    let swapping = Task.detached {
      while !Task.isCancelled {
        _ = rename(base + "/root/swap", base + "/root/kept")
        _ = symlink(base + "/outside", base + "/root/swap")
        _ = unlink(base + "/root/swap")
        _ = rename(base + "/root/kept", base + "/root/swap")
        await Task.yield()
      }
    }
    var answers: Set<String> = []
    for _ in 0..<150 {
      let answer = try await bench.get("/swap/secret")
      #expect(!answer.contains("SECRET"))
      answers.insert(String(answer.prefix(12)))
    }
    #expect(answers.contains("HTTP/1.1 200"))
    swapping.cancel()
    await swapping.value
    try await bench.stop()
  }
}
