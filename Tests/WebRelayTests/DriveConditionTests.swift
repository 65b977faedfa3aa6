import Foundation
import NIOCore
import NIOHTTP1
import Testing

@testable import WebRelay

@Suite("Conditions and changes on a drive", .timeLimit(.minutes(5)))
struct DriveConditionTests {
  private typealias Bench = WebDAVTests.Bench

  private static func tag(_ bench: Bench, _ path: String) async throws -> String {
    try String(
      #require(
        try await bench.ask("HEAD", path).text.split(separator: "\r\n").first { $0.hasPrefix("etag: ") }?.dropFirst(6)))
  }

  @Test("a request whose condition does not hold changes nothing, whatever its method")
  func conditions() async throws {
    let bench = try await Bench.start()
    let tag = try await Self.tag(bench, "/a.txt")
    let before = "Sun, 06 Nov 1994 08:49:37 GMT"
    let propertyUpdate = "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='u'>1</x></prop></set></propertyupdate>"
    let lockInfo = "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>"
    for condition in [
      "If-None-Match: *", "If-Match: \"other\"", "If-None-Match: \(tag)", "If-Unmodified-Since: \(before)",
      "If: ([\"other\"])",
      "If: (<urn:uuid:none>)",
      "If: (Not [\(tag)])", "If: </sub/b.txt> ([\(tag)])", "If: <http://elsewhere/a.txt> ([\(tag)])",
      "If: (<DAV:no-lock>)",
    ] {
      for (method, fields, body) in [
        ("PUT", "", "evil"), ("DELETE", "", ""), ("MOVE", "Destination: /moved\r\n", ""),
        ("COPY", "Destination: /moved\r\n", ""),
        ("PROPPATCH", "", propertyUpdate), ("LOCK", "", lockInfo), ("PROPFIND", "Depth: 0\r\n", ""),
      ] {
        let answer = try await bench.ask(method, "/a.txt", fields + condition + "\r\n", body)
        #expect(answer.status == 412, "\(method), \(condition): \(answer.text)")
      }
      let read = try await bench.ask("GET", "/a.txt", condition + "\r\n")
      #expect(read.status == (condition.hasPrefix("If-None-Match") ? 304 : 412), "GET, \(condition): \(read.text)")
    }
    #expect(bench.content("root/a.txt") == "0123456789" && !bench.exists("root/moved"))
    #expect(bench.lockCount == 0)
    #expect(try await Self.tag(bench, "/a.txt") == tag)
    // What is not there matches nothing.
    #expect(try await bench.ask("PUT", "/new", "If-Match: *\r\n", "x").status == 412)
    #expect(try await bench.ask("DELETE", "/new", "If-Match: *\r\n").status == 412)
    #expect(try await bench.ask("MKCOL", "/new", "If-Match: *\r\n").status == 412)
    #expect(try await bench.ask("PUT", "/a.txt", "If: nonsense\r\n", "x").status == 400)
    // Those that hold.
    #expect(try await bench.ask("PUT", "/new", "If-None-Match: *\r\n", "x").status == 201)
    #expect(
      try await bench.ask("PUT", "/a.txt", "If: ([\"other\"]) ([\(tag)] Not <DAV:no-lock>)\r\n", "changed").status
        == 204)
    #expect(try await bench.ask("PUT", "/a.txt", "If-Match: \(tag)\r\n", "again").status == 412)
    let current = try await Self.tag(bench, "/a.txt")
    let stored = try await bench.ask("PUT", "/a.txt", "If-Match: \(current)\r\n", "changed")
    #expect(
      stored.status == 204 && stored.text.contains("etag: ") && !stored.text.contains(current)
        && !stored.text.contains("content-length"))
    #expect(bench.content("root/a.txt") == "changed")
    let other = try await Self.tag(bench, "/sub/b.txt")
    #expect(try await bench.ask("DELETE", "/a.txt", "If: </sub/b.txt> ([\(other)])\r\n").status == 204)
    try await bench.stop()
  }

  @Test(
    "a condition that held when an upload began is judged again at its end: one of two that make the same file is told so"
  )
  func lateCondition() async throws {
    let bench = try await Bench.start()
    let slow = try await bench.connect()
    try await slow.send(
      "PUT /new HTTP/1.1\r\nHost: drive\r\nIf-None-Match: *\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
    try await slow.wait { $0.hasPrefix("HTTP/1.1 100") }
    #expect(try await bench.ask("PUT", "/new", "If-None-Match: *\r\n", "quick").status == 201)
    try await slow.send("0123456789")
    try await slow.wait { $0.contains("HTTP/1.1 412") }
    #expect(bench.content("root/new") == "quick")
    // Nothing of it is left, and the connection goes on.
    #expect(
      try Set(FileManager.default.contentsOfDirectory(atPath: bench.root)) == [
        "a.txt", "sub", "new", "file-link", "dir-link", "inner-link",
      ])
    try await slow.send("GET /new HTTP/1.1\r\nHost: drive\r\n\r\n")
    try await slow.wait { $0.hasSuffix("quick") }
    slow.close()
    // Who waits for the word to send hears at once that it is not wanted.
    let refused = try await bench.connect()
    try await refused.send(
      "PUT /new HTTP/1.1\r\nHost: drive\r\nIf-None-Match: *\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
    #expect(try await refused.rest().hasPrefix("HTTP/1.1 412"))
    try await bench.stop()
  }

  @Test(
    "files and directories replace each other, moved or copied, and nothing is left of what was there",
    arguments: ["MOVE", "COPY"])
  func replacing(_ method: String) async throws {
    let bench = try await Bench.start()
    for directory in ["d1/in", "d2/in", "d3"] {
      try FileManager.default.createDirectory(atPath: bench.root + "/" + directory, withIntermediateDirectories: true)
    }
    for file in ["d1/in/one", "d2/in/two", "d3/three", "f1", "f2"] {
      try Data(file.utf8).write(to: URL(fileURLWithPath: bench.root + "/" + file))
    }
    let overwrite = { (target: String, word: String) in "Destination: \(target)\r\nOverwrite: \(word)\r\n" }
    for (source, target) in [("/d1", "/f1"), ("/f1", "/d2"), ("/d1", "/d2"), ("/f1", "/f2")] {
      #expect(try await bench.ask(method, source, overwrite(target, "F")).status == 412)
    }
    // A directory onto a file.
    #expect(try await bench.ask(method, "/d1", overwrite("/f1", "T")).status == 204)
    #expect(bench.content("root/f1/in/one") == "d1/in/one" && bench.exists("root/d1") == (method == "COPY"))
    // A file onto a directory, onto a file, and a directory onto a directory.
    #expect(try await bench.ask(method, "/f2", overwrite("/d2", "T")).status == 204)
    #expect(bench.content("root/d2") == "f2")
    #expect(try await bench.ask(method, "/a.txt", overwrite("/d2", "T")).status == 204)
    #expect(bench.content("root/d2") == "0123456789")
    #expect(try await bench.ask(method, "/d3/", overwrite("/f1/", "T")).status == 204)
    #expect(bench.content("root/f1/three") == "d3/three" && !bench.exists("root/f1/in"))
    #expect(try await bench.ask("COPY", "/f1", "Destination: /shallow\r\nDepth: 0\r\n").status == 201)
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.root + "/shallow").isEmpty)
    #expect(try await bench.ask("MOVE", "/f1", "Destination: /x\r\nDepth: 0\r\n").status == 400)
    #expect(try await bench.ask("DELETE", "/f1", "Depth: 0\r\n").status == 400)
    #expect(try await bench.ask("DELETE", "/f1#x").status == 400)
    #expect(bench.exists("root/f1/three"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.root).allSatisfy { !$0.hasPrefix(".swiftlet") })
    try await bench.stop()
  }

  @Test("a destination is on this drive under every name of it: behind a proxy, with the scheme's port, in capitals")
  func destinations() async throws {
    let bench = try await Bench.start()
    for (index, destination) in ["HTTP://DRIVE/", "http://drive:80/", "https://drive:443/", "https://outside.example/"]
      .enumerated()
    {
      let answer = try await bench.ask(
        "COPY", "/a.txt", "Destination: \(destination)c\(index)\r\nX-Forwarded-Host: outside.example\r\n")
      #expect(answer.status == 201 && bench.content("root/c\(index)") == "0123456789", "\(destination): \(answer.text)")
    }
    for destination in ["https://drive:80/x", "http://drive:8080/x", "http://drive.example/x", "//drive/x"] {
      #expect(try await bench.ask("COPY", "/a.txt", "Destination: \(destination)\r\n").status == 502, "\(destination)")
    }
    try await bench.stop()
  }

  @Test(
    "properties of clients are kept with the file: through uploads, copies and moves, in their language and with all that is in them"
  )
  func deadProperties() async throws {
    let bench = try await Bench.start()
    let value = "<q:v xmlns:q='urn:q' xml:lang='de' p='1'>a &lt; b<w xmlns='urn:w'/>c</q:v>"
    let set = { (text: String) in "<propertyupdate xmlns='DAV:'><set><prop>\(text)</prop></set></propertyupdate>" }
    let patched = try await bench.ask(
      "PROPPATCH", "/a.txt", "", set(value + "<bare xmlns=''>x</bare><gone xmlns='urn:q'>y</gone>"))
    // 403: a file system without extended attributes.
    guard !patched.text.contains("403 Forbidden") else { return try await bench.stop() }
    #expect(patched.status == 207 && patched.text.contains("200 OK"), "\(patched.text)")
    let remove =
      "<propertyupdate xmlns='DAV:'><remove><prop><gone xmlns='urn:q'/><never xmlns='urn:q'/></prop></remove></propertyupdate>"
    #expect(try await bench.ask("PROPPATCH", "/a.txt", "", remove).text.contains("200 OK"))
    #expect(try await bench.ask("PUT", "/a.txt", "", "new content").status == 204)
    #expect(try await bench.ask("COPY", "/a.txt", "Destination: /sub/c.txt\r\n").status == 201)
    #expect(try await bench.ask("COPY", "/sub", "Destination: /sub2\r\n").status == 201)
    #expect(try await bench.ask("MOVE", "/sub2/c.txt", "Destination: /d.txt\r\n").status == 201)
    let wanted =
      "<propfind xmlns='DAV:'><prop><v xmlns='urn:q'/><bare xmlns=''/><gone xmlns='urn:q'/></prop></propfind>"
    for path in ["/a.txt", "/sub/c.txt", "/d.txt"] {
      let found = try await bench.ask("PROPFIND", path, "Depth: 0\r\n", wanted).text
      #expect(
        found.contains("<v xmlns=\"urn:q\" xml:lang=\"de\" p=\"1\">a &lt; b<w xmlns=\"urn:w\"/>c</v><bare>x</bare>"),
        "\(path): \(found)")
      #expect(found.components(separatedBy: "404 Not Found").count == 2)
      #expect(try await bench.ask("PROPFIND", path, "Depth: 0\r\n").text.contains("<bare>x</bare>"))
      let names = try await bench.ask("PROPFIND", path, "Depth: 0\r\n", "<propfind xmlns='DAV:'><propname/></propfind>")
        .text
      #expect(names.contains("<bare/>") && names.contains("<D:getetag/>") && !names.contains("a &lt; b"))
    }
    // What the file system does not keep is told, and changes nothing.
    let large = set("<bare xmlns=''>\(String(repeating: "x", count: 60_000))</bare>")
    let full = try await bench.ask("PROPPATCH", "/d.txt", "", large).text
    #expect(full.contains("507 Insufficient Storage") || full.contains("200 OK"))
    let protected = try await bench.ask("PROPPATCH", "/d.txt", "", set("<getetag>x</getetag><bare xmlns=''>z</bare>"))
      .text
    #expect(
      protected.contains("403 Forbidden") && protected.contains("424 Failed Dependency")
        && protected.contains("cannot-modify-protected-property"))
    try await bench.stop()
  }

  @Test("an upload leaves the rights of the file that it replaces, and a name that leads upwards elsewhere is not made")
  func uploads() async throws {
    let bench = try await Bench.start()
    chmod(bench.root + "/a.txt", 0o600)
    #expect(try await bench.ask("PUT", "/a.txt", "", "secret").status == 204)
    #expect(try FileManager.default.attributesOfItem(atPath: bench.root + "/a.txt")[.posixPermissions] as? Int == 0o600)
    for method in ["PUT", "MKCOL", "LOCK"] {
      #expect(try await (400..<500).contains(bench.ask(method, "/..%5Coutside%5Cx").status), "\(method)")
    }
    #expect(try await bench.ask("MOVE", "/a.txt", "Destination: /..%5Cx\r\n").status == 403)
    #expect(try await bench.ask("PUT", "/a%5Cb", "", "x").status == 201)
    #expect(try await bench.ask("GET", "/a%5Cb").text.hasSuffix("x"))
    #expect(try await bench.ask("PROPFIND", "/", "Depth: 1\r\n").text.contains("<D:href>/a%5Cb</D:href>"))
    // What this program keeps there while it works is nobody's.
    try Data("half".utf8).write(to: URL(fileURLWithPath: bench.root + "/.swiftlet-upload-1"))
    for method in ["GET", "PUT", "DELETE", "PROPFIND"] {
      #expect(try await bench.ask(method, "/.swiftlet-upload-1").status == 403, "\(method)")
    }
    #expect(try await !bench.ask("PROPFIND", "/", "Depth: 1\r\n").text.contains("upload"))
    try await bench.stop()
  }

  @Test("a browser gets a listing, dot names and all, and other programs the answer that tells a directory from a file")
  func browser() async throws {
    let bench = try await Bench.start()
    try Data("x".utf8).write(to: URL(fileURLWithPath: bench.root + "/.hidden"))
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
    let page = try await bench.ask("GET", "/", accept)
    #expect(
      page.status == 200 && page.text.contains("text/html") && page.text.contains("href=\"sub/\"")
        && page.text.contains("href=\".hidden\""))
    #expect(!page.text.contains("link") && page.text.contains("vary: accept"))
    #expect(try await bench.ask("GET", "/sub?a=1", accept).text.contains("location: /sub/?a=1\r\n"))
    for fields in ["", "Accept: */*\r\n"] {
      for path in ["/", "/sub", "/sub/"] { #expect(try await bench.ask("GET", path, fields).status == 405) }
    }
    try await bench.stop()
  }

  @Test("a deep tree of more entries than one piece holds is told whole, in chunks")
  func manyEntries() async throws {
    let bench = try await Bench.start()
    for directory in 0..<10 {
      try FileManager.default.createDirectory(
        atPath: bench.root + "/many/\(directory)", withIntermediateDirectories: true)
      for file in 0..<60 {
        _ = FileManager.default.createFile(atPath: bench.root + "/many/\(directory)/\(file)", contents: nil)
      }
    }
    let answer = try await bench.ask("PROPFIND", "/many", "Depth: infinity\r\n")
    #expect(
      answer.status == 207 && answer.text.contains("transfer-encoding: chunked")
        && answer.text.contains("</D:multistatus>"))
    #expect(answer.text.components(separatedBy: "<D:response>").count - 1 == 611)
    try await bench.stop()
  }

  @Test("long listings of one who does not read leave room for others, and their places come back")
  func longAnswers() async throws {
    let bench = try await Bench.start()
    try FileManager.default.createDirectory(atPath: bench.root + "/many", withIntermediateDirectories: true)
    for number in 0..<1200 {
      _ = FileManager.default.createFile(
        atPath: bench.root + "/many/\(number)-" + String(repeating: "x", count: 60), contents: nil)
    }
    let site = try WebDAVSite(root: bench.root)
    func ask(_ method: HTTPMethod, _ asker: String) -> SiteAnswer {
      let head = HTTPRequestHead(
        version: .http1_1, method: method, uri: "/many/",
        headers: [
          "host": "h", "depth": "1", "accept": "text/html",
          "x-forwarded-for": "1.2.3.\(Int.random(in: 0...255)), \(asker)",
        ])
      return site.answer(head, ByteBuffer())
    }
    func status(_ answer: SiteAnswer) -> UInt {
      switch answer {
      case .page(let page): page.status.code
      case .content(let status, _, _): status.code
      }
    }
    // Pages for browsers and PROPFIND alike.
    var held = (0..<8).map { ask($0.isMultiple(of: 2) ? .GET : .PROPFIND, "slow") }
    #expect(held.map(status) == [200, 207, 200, 207, 200, 207, 200, 207])
    #expect(
      status(ask(.GET, "slow")) == 503 && status(ask(.PROPFIND, "slow")) == 503 && status(ask(.HEAD, "slow")) == 200)
    held += (0..<24).map { ask(.GET, "\($0)") }
    #expect(status(ask(.GET, "another")) == 503)
    guard case .content(_, _, let content) = held[0] else { throw ConfinedRoot.Failure.notFound }
    var bytes = 0
    while case let piece = try content.next(1 << 16), piece.readableBytes > 0 { bytes += piece.readableBytes }
    #expect(Int64(bytes) == content.length)
    held = []
    #expect(status(ask(.GET, "another")) == 200)
    try await bench.stop()
  }

  @Test("a path has so many directories in each other, what is deeper is no place of a drive")
  func deepPaths() throws {
    let deepest = String(repeating: "/d", count: FileName.depthLimit)
    #expect(try FilePath(url: deepest).count == FileName.depthLimit)
    #expect(throws: ConfinedRoot.Failure.badPath) { try FilePath(url: deepest + "/d") }
  }
}
