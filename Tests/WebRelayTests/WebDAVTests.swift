import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import WebRelay

@Suite("A directory as a drive", .timeLimit(.minutes(5)))
struct WebDAVTests {
  struct Bench {
    let base: String
    let channel: any Channel
    let site: WebDAVSite
    var root: String { base + "/root" }

    static func start(isReadOnly: Bool = false) async throws -> Bench {
      let base = NSTemporaryDirectory() + "swiftlet-drive-" + UUID().uuidString
      let files = FileManager.default
      try files.createDirectory(atPath: base + "/root/sub", withIntermediateDirectories: true)
      try files.createDirectory(atPath: base + "/outside/dir", withIntermediateDirectories: true)
      for (path, text) in [
        ("root/a.txt", "0123456789"), ("root/sub/b.txt", "b"), ("outside/secret", "SECRET"), ("outside/dir/x", "X"),
      ] {
        try Data(text.utf8).write(to: URL(fileURLWithPath: base + "/" + path))
      }
      try files.createSymbolicLink(atPath: base + "/root/file-link", withDestinationPath: "../outside/secret")
      try files.createSymbolicLink(atPath: base + "/root/dir-link", withDestinationPath: base + "/outside")
      try files.createSymbolicLink(atPath: base + "/root/inner-link", withDestinationPath: "a.txt")
      let site = try WebDAVSite(root: base + "/root", isReadOnly: isReadOnly)
      let channel = try await ServerBootstrap(group: RelayBench.group)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try site.configure(channel, remoteAddress: "") }
        }
        .bind(host: "127.0.0.1", port: 0).get()
      return Bench(base: base, channel: channel, site: site)
    }

    func stop() async throws {
      try await channel.close()
      try? FileManager.default.removeItem(atPath: base)
    }

    func connect() async throws -> RawClient { try await RawClient.connect(port: channel.localAddress?.port ?? 0) }

    /// - Returns: status and the whole answer.
    func ask(_ method: String, _ path: String, _ fields: String = "", _ body: String = "") async throws -> (
      status: Int, text: String
    ) {
      let client = try await connect()
      let length = body.isEmpty && method != "PUT" ? "" : "Content-Length: \(body.utf8.count)\r\n"
      try await client.send(
        "\(method) \(path) HTTP/1.1\r\nHost: drive\r\n\(length)\(fields)Connection: close\r\n\r\n\(body)")
      let text = try await client.rest()
      return (Int(text.dropFirst(9).prefix(3)) ?? 0, text)
    }

    var lockCount: Int { site.locks.withLock { $0.count } }

    func content(_ path: String) -> String? { (try? String(contentsOfFile: base + "/" + path, encoding: .utf8)) }
    func exists(_ path: String) -> Bool {
      (try? FileManager.default.attributesOfItem(atPath: base + "/" + path)) != nil
    }
  }

  @Test("a walk: make, store, list, read in part, move, copy, delete")
  func walk() async throws {
    let bench = try await Bench.start()
    let options = try await bench.ask("OPTIONS", "/")
    #expect(options.status == 200 && options.text.contains("dav: 1, 2\r\n") && options.text.contains("PROPFIND"))
    #expect(try await bench.ask("MKCOL", "/new").status == 201)
    #expect(try await bench.ask("MKCOL", "/new").status == 405)
    #expect(try await bench.ask("MKCOL", "/no/where").status == 409)
    #expect(try await bench.ask("PUT", "/new/f.txt", "Zrok-Modtime: 1000000000\r\n", "hello").status == 201)
    #expect(bench.content("root/new/f.txt") == "hello")
    #expect(try await bench.ask("PUT", "/new/f.txt", "", "again").status == 204)
    #expect(try await bench.ask("PUT", "/no/f.txt", "", "x").status == 409)
    #expect(try await bench.ask("PUT", "/new", "", "x").status == 405)
    #expect(try await bench.ask("PUT", "/empty").status == 201)
    #expect(try await bench.ask("GET", "/new/f.txt", "Range: bytes=1-2\r\n").text.hasSuffix("\r\n\r\nga"))
    #expect(try await bench.ask("GET", "/new").status == 405)
    #expect(try await bench.ask("MOVE", "/new/f.txt", "Destination: http://drive/new/g%20h.txt\r\n").status == 201)
    #expect(bench.content("root/new/g h.txt") == "again" && !bench.exists("root/new/f.txt"))
    #expect(try await bench.ask("COPY", "/sub", "Destination: /copy\r\n").status == 201)
    #expect(bench.content("root/copy/b.txt") == "b")
    #expect(try await bench.ask("COPY", "/a.txt", "Destination: /copy\r\nOverwrite: F\r\n").status == 412)
    #expect(try await bench.ask("COPY", "/a.txt", "Destination: /copy\r\n").status == 204)
    #expect(bench.content("root/copy") == "0123456789")
    #expect(try await bench.ask("MOVE", "/sub", "Destination: /sub/deeper\r\n").status == 403)
    #expect(try await bench.ask("DELETE", "/new").status == 204)
    #expect(!bench.exists("root/new"))
    #expect(try await bench.ask("DELETE", "/new").status == 404)
    #expect(try await bench.ask("DELETE", "/").status == 403)
    #expect(try await bench.ask("PATCH", "/a.txt").status == 405)
    try await bench.stop()
  }

  @Test("properties: all, chosen, of a directory's entries and of all below; zrok's own time is read and set")
  func properties() async throws {
    let bench = try await Bench.start()
    let all = try await bench.ask("PROPFIND", "/", "Depth: 1\r\n")
    #expect(
      all.status == 207 && all.text.contains("<D:href>/sub/</D:href>") && all.text.contains("<D:href>/a.txt</D:href>"))
    #expect(all.text.contains("<D:getcontentlength>10</D:getcontentlength>") && all.text.contains("<D:collection/>"))
    // Symlinks are not part of the drive.
    #expect(!all.text.contains("link"))
    let body =
      "<?xml version=\"1.0\"?><d:propfind xmlns:d=\"DAV:\" xmlns:q=\"urn:q&amp;\"><d:prop><d:getetag/><q:color/></d:prop></d:propfind>"
    let some = try await bench.ask("PROPFIND", "/a.txt", "Depth: 0\r\n", body)
    #expect(
      some.text.contains("<D:getetag>") && some.text.contains("404 Not Found")
        && some.text.contains("xmlns:X=\"urn:q&amp;\""))
    for depth in ["Depth: infinity\r\n", ""] {
      let deep = try await bench.ask("PROPFIND", "/", depth)
      let places = deep.text.components(separatedBy: "<D:href>").dropFirst().map { String($0.prefix { $0 != "<" }) }
      #expect(
        deep.status == 207 && places.first == "/" && Set(places) == ["/", "/a.txt", "/sub/", "/sub/b.txt"]
          && places.count == 4)
      #expect((places.firstIndex(of: "/sub/") ?? 9) < (places.firstIndex(of: "/sub/b.txt") ?? 0))
    }
    #expect(try await bench.ask("PROPFIND", "/", "Depth: 2\r\n").status == 400)
    #expect(try await bench.ask("OPTIONS", "*").status == 200)
    #expect(try await bench.ask("PROPFIND", "/none", "Depth: 0\r\n").status == 404)
    let set = { (property: String) in
      "<propertyupdate xmlns=\"DAV:\" xmlns:z=\"zrok:\"><set><prop>\(property)</prop></set></propertyupdate>"
    }
    #expect(
      try await bench.ask("PROPPATCH", "/a.txt", "", set("<z:lastmodified>1234567890</z:lastmodified>")).text.contains(
        "200 OK"))
    let attributes = try FileManager.default.attributesOfItem(atPath: bench.root + "/a.txt")
    #expect((attributes[.modificationDate] as? Date)?.timeIntervalSince1970 == 1_234_567_890)
    let refused = try await bench.ask(
      "PROPPATCH", "/a.txt", "", set("<z:lastmodified>5</z:lastmodified><displayname>x</displayname>"))
    #expect(refused.text.contains("403 Forbidden") && refused.text.contains("424 Failed Dependency"))
    #expect(
      (try FileManager.default.attributesOfItem(atPath: bench.root + "/a.txt")[.modificationDate] as? Date)?
        .timeIntervalSince1970 == 1_234_567_890)
    try Data("x".utf8).write(to: URL(fileURLWithPath: bench.root + "/<b> & \"c\".txt"))
    let hostile = try await bench.ask("PROPFIND", "/", "Depth: 1\r\n")
    #expect(!hostile.text.contains("<b>") && hostile.text.contains("&lt;b&gt; &amp; &quot;c&quot;.txt"))
    try await bench.stop()
  }

  @Test(
    "no path leaves the directory, by any method",
    arguments: [
      "/../outside/secret", "/%2e%2e/outside/secret", "/%2e%2e%2foutside%2fsecret", "/..%5coutside%5csecret",
      "/sub/../../outside/secret",
      "/%252e%252e/outside/secret", "/file-link", "/dir-link/secret", "/dir-link/dir/x", "/dir-link", "/dir-link/",
      "/inner-link", "/a%00",
    ])
  func confined(_ path: String) async throws {
    let bench = try await Bench.start()
    for (method, fields, body) in [
      ("GET", "", ""), ("HEAD", "", ""), ("PROPFIND", "Depth: 1\r\n", ""), ("PUT", "", "evil"), ("DELETE", "", ""),
      ("MKCOL", "", ""),
      ("MOVE", "Destination: /stolen\r\n", ""), ("COPY", "Destination: /stolen\r\n", ""),
      ("PUT", "Zrok-Modtime: 1\r\n", "evil"),
    ] {
      let answer = try await bench.ask(method, path, fields, body)
      #expect((400..<500).contains(answer.status), "\(method) \(path): \(answer.text.prefix(200))")
      #expect(!answer.text.contains("SECRET"))
    }
    for method in ["MOVE", "COPY"] {
      let answer = try await bench.ask(method, "/a.txt", "Destination: \(path)\r\n")
      #expect((400..<500).contains(answer.status), "\(method) to \(path): \(answer.text.prefix(200))")
      #expect(bench.content("root/a.txt") == "0123456789")
    }
    #expect(
      bench.content("outside/secret") == "SECRET" && bench.content("outside/dir/x") == "X"
        && !bench.exists("root/stolen"))
    try await bench.stop()
  }

  @Test("a destination on another server, or none at all, is refused")
  func destinations() async throws {
    let bench = try await Bench.start()
    for destination in ["http://elsewhere/x", "http://drive@elsewhere/x", "//elsewhere/x/../y", "ftp://drive/x", "x"] {
      #expect(try await bench.ask("MOVE", "/a.txt", "Destination: \(destination)\r\n").status >= 400, "\(destination)")
    }
    #expect(try await bench.ask("MOVE", "/a.txt").status == 400)
    #expect(bench.content("root/a.txt") == "0123456789")
    try await bench.stop()
  }

  @Test("deleting and copying a directory leaves what its symlinks lead to alone")
  func links() async throws {
    let bench = try await Bench.start()
    try FileManager.default.createSymbolicLink(
      atPath: bench.root + "/sub/out", withDestinationPath: bench.base + "/outside")
    #expect(try await bench.ask("COPY", "/sub", "Destination: /copied\r\n").status == 201)
    #expect(bench.content("root/copied/b.txt") == "b" && !bench.exists("root/copied/out"))
    #expect(try await bench.ask("DELETE", "/sub").status == 204)
    #expect(
      !bench.exists("root/sub") && bench.content("outside/secret") == "SECRET" && bench.content("outside/dir/x") == "X")
    try await bench.stop()
  }

  @Test("an upload that breaks off leaves the old file and nothing else; a large one arrives whole")
  func uploads() async throws {
    let bench = try await Bench.start()
    let client = try await bench.connect()
    try await client.send(
      "PUT /a.txt HTTP/1.1\r\nHost: drive\r\nContent-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 300_000))
    try await Task.sleep(for: .milliseconds(200))
    client.close()
    let clean = ContinuousClock.now + .seconds(10)
    while try FileManager.default.contentsOfDirectory(atPath: bench.root).contains(where: {
      $0.hasPrefix(".swiftlet-upload")
    }), .now < clean {
      try await Task.sleep(for: .milliseconds(20))
    }
    #expect(bench.content("root/a.txt") == "0123456789")
    #expect(
      try !FileManager.default.contentsOfDirectory(atPath: bench.root).contains { $0.hasPrefix(".swiftlet-upload") })
    let large = String(repeating: "0123456789abcdef", count: 1 << 20)
    #expect(try await bench.ask("PUT", "/large", "", large).status == 201)
    #expect(bench.content("root/large") == large)
    try await bench.stop()
  }

  @Test("a drive for reading only reads")
  func readOnly() async throws {
    let bench = try await Bench.start(isReadOnly: true)
    for (method, fields) in [
      ("PUT", ""), ("DELETE", ""), ("MKCOL", ""), ("MOVE", "Destination: /x\r\n"), ("COPY", "Destination: /x\r\n"),
      ("PROPPATCH", ""),
    ] {
      #expect(try await bench.ask(method, "/a.txt", fields).status == 403, "\(method)")
    }
    #expect(try await bench.ask("GET", "/a.txt").text.hasSuffix("0123456789"))
    try await bench.stop()
  }

  @Test(
    "XML that means harm, or nothing, is refused",
    arguments: [
      "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>", "<x>&e;</x>", "<x>&#0;</x>",
      "<x>&#xD800;</x>", "<x", "<x>", "<x></y>",
      "<x/><y/>",
      "<a:x/>", "<x xmlns:a=''/>", "<x>\u{1}</x>", "<x>&#xFFFE;</x>", "<x y=z/>", "<x y='<'/>", "", "text",
      "<x>&amp</x>", "<?php ?><x/>",
      "<x><![CDATA[</x>", "<x><!--</x>", "<:x/>", "<x:/>", "<a:1b xmlns:a='u'/>", "<a:b:c xmlns:a='u'/>",
      "<x q='1' q='2'/>", "<x y='1'z='2'/>",
      "<x a:q='1' b:q='2' xmlns:a='u' xmlns:b='u'/>", "<xml:x/>", "<x xmlns='http://www.w3.org/XML/1998/namespace'/>",
      "<x xmlns:xml='u'/>",
      String(repeating: "<x>", count: 100), "<x>" + String(repeating: "<y/>", count: 5000) + "</x>",
      String(repeating: " ", count: 70_000) + "<x/>",
    ])
  func badXML(_ text: String) {
    #expect(throws: XMLElement.Failure.self) { _ = try XMLElement(parsing: Array(text.utf8)) }
  }

  @Test("XML is read with its namespaces")
  func goodXML() throws {
    let root = try XMLElement(
      parsing: Array(
        "\u{FEFF}<?xml version='1.0'?><!-- c --><a xmlns='u' xmlns:p='v'> t&lt;<p:b q='1'/><![CDATA[<&]]></a> ".utf8))
    #expect(root.namespace == "u" && root.name == "a" && root.text == " t<<&")
    #expect(root.children == [try XMLElement(parsing: Array("<b xmlns='v' q='1'/>".utf8))])
    #expect(root.xml == "<a xmlns=\"u\"> t&lt;<b xmlns=\"v\" q=\"1\"/>&lt;&amp;</a>")
    #expect(try XMLElement(parsing: Array(root.xml.utf8)) == root)
    var generator = SystemRandomNumberGenerator()
    let seed = Array("<a xmlns='u' xmlns:p='v'>t&lt;<p:b q='1'/><![CDATA[x]]></a>".utf8)
    for _ in 0..<5000 {
      var bytes = seed
      for _ in 0..<3 {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      // What can be read can be written for others to read.
      guard let read = try? XMLElement(parsing: bytes.prefix(Int.random(in: 0...bytes.count, using: &generator))) else {
        continue
      }
      #expect((try? XMLElement(parsing: Array(read.xml.utf8))) != nil)
    }
  }

  @Test("a mark of XML is one, whatever combines with it in one character")
  func combinedMarks() throws {
    // U+0D4E and U+0600 go together with what follows.
    let root = try XMLElement(
      parsing: Array("<a><b\u{0D4E}>x\u{0600}<c q='\u{0600}'/>&lt;\u{301}</b\u{0D4E}></a>".utf8))
    let inner = try #require(root.children.first)
    #expect(root.children.count == 1 && inner.name == "b\u{0D4E}" && inner.children.map(\.name) == ["c"])
    #expect(inner.text.unicodeScalars.elementsEqual("x\u{0600}<\u{301}".unicodeScalars))
    #expect(inner.xml.utf8.elementsEqual("<b\u{0D4E}>x\u{0600}<c q=\"\u{0600}\"/>&lt;\u{301}</b\u{0D4E}>".utf8))
    // No mark gets into a name.
    #expect(throws: XMLElement.Failure.self) { try XMLElement(parsing: Array("<a\u{0D4E}<b/>".utf8)) }
    for text in ["<a\u{0D4E}\"/>", "<a\u{0D4E}&lt;/>"] {
      #expect(throws: XMLElement.Failure.self) { try XMLElement(parsing: Array(text.utf8)) }
    }
  }
}
