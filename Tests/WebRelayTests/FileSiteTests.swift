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

    static func start(showsHidden: Bool = false) async throws -> Bench {
      let base = NSTemporaryDirectory() + "swiftlet-site-" + UUID().uuidString
      let files = FileManager.default
      try files.createDirectory(atPath: base + "/root/sub/deep", withIntermediateDirectories: true)
      try files.createDirectory(atPath: base + "/outside", withIntermediateDirectories: true)
      for (path, text) in [
        ("root/index.html", "<p>index"), ("root/a.txt", "0123456789"), ("root/sub/b.css", "b{}"),
        ("outside/secret", "SECRET"),
        ("root/sub/<img src=x onerror=alert(1)>.txt", "x"),
      ] { try Data(text.utf8).write(to: URL(fileURLWithPath: base + "/" + path)) }
      try files.createSymbolicLink(atPath: base + "/root/leaves", withDestinationPath: "../outside/secret")
      try files.createSymbolicLink(atPath: base + "/root/leavesdir", withDestinationPath: base + "/outside")
      try files.createSymbolicLink(atPath: base + "/root/stays", withDestinationPath: "sub/b.css")
      try files.createSymbolicLink(atPath: base + "/root/staysdir", withDestinationPath: base + "/root/sub")
      try files.createSymbolicLink(atPath: base + "/root/loop", withDestinationPath: "loop")
      _ = mkfifo(base + "/root/pipe", 0o600)
      let site = try FileSite(root: base + "/root", showsHidden: showsHidden)
      let channel = try await ServerBootstrap(group: RelayBench.group)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try site.configure(channel, remoteAddress: "") }
        }
        .bind(host: "127.0.0.1", port: 0).get()
      return Bench(base: base, channel: channel)
    }

    func stop() async throws {
      try await channel.close()
      try? FileManager.default.removeItem(atPath: base)
    }

    /// - Parameter seconds: since 1970.
    func setTime(_ path: String, _ seconds: Int) {
      let time = timeval(tv_sec: seconds, tv_usec: 0)
      _ = utimes(base + "/" + path, [time, time])
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
    #expect(try await bench.get("/sub?a=1&b=//x").contains("location: /sub/?a=1&b=//x\r\n"))
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
      ("bytes=10-", 416, ""), ("bytes=-0", 416, ""), ("bytes=5-2", 200, "0123456789"),
      ("bytes=0-1,3-4", 200, "0123456789"),
      ("bytes=a-b", 200, "0123456789"), ("bytes=99999999999999999999-", 200, "0123456789"),
      ("lines=1-2", 200, "0123456789"),
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
    #expect(try await bench.get("/a.txt", "Range: bytes=0-9223372036854775807\r\n").hasPrefix("HTTP/1.1 206"))
    // A range is GET's alone (RFC 9110, 14.2).
    #expect(try await bench.get("/a.txt", method: "HEAD", "Range: bytes=0-3\r\n").hasPrefix("HTTP/1.1 200"))
    try await bench.stop()
  }

  @Test("each condition of a request holds or does not, alone and beside the others")
  func conditions() async throws {
    let bench = try await Bench.start()
    bench.setTime("root/a.txt", 784_111_777)
    let first = try await bench.get("/a.txt")
    #expect(first.contains("last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))
    let tag = try #require(first.split(separator: "\r\n").first { $0.hasPrefix("etag: ") }?.dropFirst(6))
    let (then, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT")
    for (fields, status) in [
      ("If-Match: \"x\"", 412), ("If-Match: \(tag)", 200), ("If-Match: \"a,b\", \(tag)", 200),
      ("If-Match: W/\(tag)", 412), ("If-Match: *", 200),
      ("If-Match: \"x\"\r\nIf-Match: \(tag)", 200), ("If-Match: x", 412), ("If-Unmodified-Since: \(then)", 200),
      ("If-Unmodified-Since: \(before)", 412),
      ("If-Unmodified-Since: yesterday", 200), ("If-Match: \(tag)\r\nIf-Unmodified-Since: \(before)", 200),
      ("If-None-Match: W/\(tag)", 304),
      ("If-None-Match: *", 304), ("If-None-Match: \"x\"\r\nIf-Modified-Since: \(then)", 200),
      ("If-Modified-Since: \(then)", 304),
      ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304), ("If-Modified-Since: Sun Nov  6 08:49:37 1994", 304),
      ("If-Modified-Since: \(before)", 200),
      ("If-Modified-Since: Mon, 07 Nov 2044 00:00:00 GMT", 304), ("If-Modified-Since: 1994", 200),
      ("If-Match: \(tag)\r\nIf-None-Match: \(tag)", 304),
      ("Range: bytes=0-3\r\nIf-Range: \(then)", 206), ("Range: bytes=0-3\r\nIf-Range: \(before)", 200),
    ] {
      for method in ["GET", "HEAD"] {
        let wanted = method == "HEAD" && status == 206 ? 200 : status
        let answer = try await bench.get("/a.txt", method: method, fields + "\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 \(wanted)"), "\(method), \(fields): \(answer)")
        #expect(status != 304 || (!answer.contains("content-length") && answer.contains("etag: \(tag)")))
      }
    }
    try await bench.stop()
  }

  @Test("a file written again within a second, with as many bytes, is another file")
  func sameSecond() async throws {
    let bench = try await Bench.start()
    let file = bench.base + "/root/a.txt"
    for round in 0..<5 {
      let tag = try #require(
        try await bench.get("/a.txt").split(separator: "\r\n").first { $0.hasPrefix("etag: ") }?.dropFirst(6))
      // In place, by another file that takes its place, and so that the time stays what it was.
      // The clock of older kernels' files has ticks of some milliseconds.
      try await Task.sleep(for: .milliseconds(20))
      let text = "012345678\(round)"
      let handle = try #require(FileHandle(forWritingAtPath: file))
      if round % 2 == 0 {
        try handle.write(contentsOf: Data(text.utf8))
      } else {
        try Data(text.utf8).write(to: URL(fileURLWithPath: file), options: .atomic)
      }
      try handle.close()
      let answer = try await bench.get("/a.txt", "If-None-Match: \(tag)\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix(text), "\(round): \(answer)")
    }
    // Where the second still lasts its time proves nothing, and is not told.
    bench.setTime("root/a.txt", Int(Date().timeIntervalSince1970) + 5)
    let young = try await bench.get("/a.txt")
    #expect(young.hasPrefix("HTTP/1.1 200") && !young.contains("last-modified"))
    try await bench.stop()
  }

  @Test(
    "what the path leads to now is served: a directory that was built anew, the newest release behind a link, and nothing outside of it"
  )
  func rebuilt() async throws {
    let base = NSTemporaryDirectory() + "swiftlet-site-" + UUID().uuidString
    let files = FileManager.default
    for (release, text) in [("one", "first"), ("two", "second")] {
      try files.createDirectory(atPath: base + "/" + release, withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(fileURLWithPath: base + "/" + release + "/index.html"))
    }
    try files.createSymbolicLink(atPath: base + "/two/out", withDestinationPath: "../one/index.html")
    try files.createSymbolicLink(atPath: base + "/current", withDestinationPath: "one")
    let site = try FileSite(root: base + "/current")
    let drive = try WebDAVSite(root: base + "/current")
    let single = try SingleFileSite(path: base + "/current/index.html")
    func body(_ site: any Site, _ path: String) async throws -> String { try await Self.exchange(site, path) }
    #expect(try await body(site, "/").hasSuffix("first"))
    _ = rename(base + "/current", base + "/old")
    #expect(try await body(site, "/").hasPrefix("HTTP/1.1 404"))
    try files.createSymbolicLink(atPath: base + "/current", withDestinationPath: "two")
    #expect(try await body(site, "/").hasSuffix("second"))
    #expect(try await body(drive, "/index.html").hasSuffix("second"))
    #expect(try await body(single, "/").hasSuffix("second"))
    #expect(try await body(site, "/out").hasPrefix("HTTP/1.1 403"))
    try files.removeItem(atPath: base + "/two")
    #expect(try await body(drive, "/index.html").hasPrefix("HTTP/1.1 404"))
    try files.createDirectory(atPath: base + "/two", withIntermediateDirectories: true)
    try Data("third".utf8).write(to: URL(fileURLWithPath: base + "/two/index.html"))
    #expect(try await body(site, "/").hasSuffix("third"))
    #expect(try await body(drive, "/index.html").hasSuffix("third"))
    try files.removeItem(atPath: base)
  }

  /// One GET at a site of its own.
  private static func exchange(_ site: some Site, _ path: String) async throws -> String {
    let channel = try await ServerBootstrap(group: RelayBench.group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try site.serve(channel, "", HTTPLimits(), nil) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let client = try await RawClient.connect(port: channel.localAddress?.port ?? 0)
    try await client.send("GET \(path) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    let text = try await client.rest()
    try await channel.close()
    return text
  }

  @Test(
    "names of any bytes are listed and reachable",
    .enabled(if: FileSiteTests.takesAnyName, "this file system wants UTF-8"))
  func names() async throws {
    let bench = try await Bench.start()
    for (bytes, url) in [
      (Array("caf".utf8) + [0xE9], "caf%E9"), (Array("a\\b".utf8), "a%5Cb"), (Array("line\nend".utf8), "line%0Aend"),
      ([0xFF, 0xFE], "%FF%FE"),
      (Array("e\u{301}".utf8), "e%CC%81"), (Array("\u{E9}".utf8), "%C3%A9"),
    ] as [([UInt8], String)] {
      let path = Array((bench.base + "/root/sub/").utf8) + bytes + [0]
      let file = try #require(
        path.withUnsafeBytes { $0.baseAddress.flatMap { fopen($0.assumingMemoryBound(to: CChar.self), "w") } })
      fputs(url, file)
      fclose(file)
      #expect(try await bench.get("/sub/\(url)").hasSuffix("\r\n\r\n" + url), "\(url)")
      #expect(try await bench.get("/sub/").contains("href=\"\(url)\""), "\(url)")
    }
    try await bench.stop()
  }

  #if canImport(Darwin)
    private static let takesAnyName = false
  #else
    private static let takesAnyName = true
  #endif

  @Test("text is shown as text, whatever its name, and each type is told by name or content")
  func types() async throws {
    let bench = try await Bench.start()
    let film = [UInt8]([0x47, 0x40, 0x11, 0x10, 0, 0x42, 0xF0, 0x25])
    for (name, content, type) in [
      ("README", Array("read me".utf8), "text/plain; charset=utf-8"),
      ("a.py", Array("import os".utf8), "text/plain; charset=utf-8"),
      ("a.yml", Array("a: 1".utf8), "text/plain; charset=utf-8"),
      ("Dockerfile", Array("FROM x".utf8), "text/plain; charset=utf-8"),
      ("list.m3u8", Array("#EXTM3U".utf8), "application/vnd.apple.mpegurl"), ("film.ts", film, "video/mp2t"),
      ("program.ts", Array("let a: number".utf8), "text/plain; charset=utf-8"),
      ("data", [0, 1, 2], "application/octet-stream"),
      ("data.unheard-of", Array("text".utf8), "text/plain; charset=utf-8"),
      ("old.html", Array("<meta charset=latin1>caf".utf8) + [0xE9], "text/html"),
      ("a.JSON", Array("{}".utf8), "application/json; charset=utf-8"), ("a.mjs", [], "text/javascript; charset=utf-8"),
      // The character goes through the end of what is looked at.
      ("cut.txt", [UInt8](repeating: 0x61, count: 1022) + Array("\u{20AC}uro".utf8), "text/plain; charset=utf-8"),
      ("a.png", [0x89, 0x50], "image/png"),
    ] as [(String, [UInt8], String)] {
      try Data(content).write(to: URL(fileURLWithPath: bench.base + "/root/" + name))
      #expect(try await bench.get("/" + name, method: "HEAD").contains("content-type: \(type)\r\n"), "\(name)")
    }
    try await bench.stop()
  }

  @Test(
    "names that begin with a dot are not there, .well-known aside, unless they are asked for", arguments: [false, true])
  func hidden(_ showsHidden: Bool) async throws {
    let bench = try await Bench.start(showsHidden: showsHidden)
    for (path, text) in [
      (".git/config", "git"), (".env", "env"), (".well-known/acme", "acme"), (".well-known/.secret", "secret"),
      ("sub/.htaccess", "ht"),
    ] {
      try FileManager.default.createDirectory(
        atPath: (bench.base + "/root/" + path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(fileURLWithPath: bench.base + "/root/" + path))
    }
    try FileManager.default.removeItem(atPath: bench.base + "/root/index.html")
    #expect(try await bench.get("/.well-known/acme").hasSuffix("acme"))
    for path in [
      "/.git/config", "/.git/", "/.git", "/.env", "/%2eenv", "/.well-known/.secret", "/sub/.htaccess", "//.env",
    ] {
      #expect(try await bench.get(path).hasPrefix("HTTP/1.1 404") == !showsHidden, "\(path)")
    }
    let listing = try await bench.get("/")
    #expect(
      listing.contains(".env") == showsHidden && listing.contains(".git") == showsHidden
        && listing.contains(".well-known/"))
    #expect(try await bench.get("/sub/").contains(".htaccess") == showsHidden)
    try await bench.stop()
  }

  @Test("one file is a site of its own: at the root, and under its name")
  func single() async throws {
    let bench = try await Bench.start()
    let site = try SingleFileSite(path: bench.base + "/root/a.txt")
    for path in ["/", "/a.txt", "/?x=1"] {
      let answer = try await Self.exchange(site, path)
      #expect(
        answer.hasSuffix("0123456789") && answer.contains("content-disposition: inline; filename*=UTF-8''a.txt\r\n"),
        "\(path)")
    }
    for path in ["/index.html", "/sub/b.css", "/a.txt/", "/.", "/../a.txt"] {
      #expect(try await Self.exchange(site, path).hasPrefix("HTTP/1.1 4"), "\(path)")
    }
    #expect(throws: (any Error).self) { try SingleFileSite(path: bench.base + "/root/none") }
    #expect(throws: (any Error).self) { try SingleFileSite(path: bench.base + "/root/pipe") }
    try await bench.stop()
  }

  @Test("a body that nobody needs is read and forgotten; who waits for the word to send it gets the answer at once")
  func bodies() async throws {
    let bench = try await Bench.start()
    let client = try await RawClient.connect(port: bench.channel.localAddress?.port ?? 0)
    try await client.send(
      "POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    try await client.wait { $0.hasSuffix("0123456789") }
    #expect(client.text.hasPrefix("HTTP/1.1 405"))
    try await client.send("POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    #expect(try await client.rest().components(separatedBy: "HTTP/1.1 405").count == 3)
    #expect(!client.text.contains("HTTP/1.1 100"))
    let large = try await bench.get(
      "/a.txt", method: "POST", "Content-Length: 100000000\r\n\r\n" + String(repeating: "x", count: 400_000))
    #expect(large.hasPrefix("HTTP/1.1 405") && large.contains("connection: close"))
    try await bench.stop()
  }

  @Test(
    "nothing outside is served",
    arguments: [
      "/../outside/secret", "/sub/../../outside/secret", "/%2e%2e/outside/secret", "/%2e%2e%2foutside%2fsecret",
      "/..%2foutside%2fsecret",
      "/%252e%252e/outside/secret", "/..%5coutside%5csecret", "/..\\outside\\secret", "/%00", "/a.txt%00.html",
      "/%c0%ae%c0%ae/outside/secret", "/%",
      "/%2",
      "/%zz", "/leaves", "/leavesdir/secret", "/leavesdir/", "/leavesdir", "/sub/../leaves", "/pipe", "/loop",
      "//../outside/secret",
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
