import Foundation
import JSON
import Model
import REST
import Store
import Testing
import Transport

@testable import Controller

/// Lists of everything, longer than what is held whole, read by curl over each version of HTTP.
@Suite("Long lists", .timeLimit(.minutes(5)))
struct LongListTests {
  private struct Failure: Error { let text: String }

  private static func curl(_ arguments: [String]) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "60"] + arguments
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let bytes = [UInt8](output.fileHandleForReading.readDataToEndOfFile())
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Failure(text: String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self))
    }
    return bytes
  }

  @Test("all of 1,207 services come when all are wanted, in parts, and at most 500 of any other number")
  func everything() async throws {
    let controller = try await LiveController.start()
    _ = try await controller.core.write(.system()) { transaction in
      for number in 0..<1207 {
        try transaction.put(EdgeService(id: "s\(number)", name: "service \(number)", roleAttributes: ["a"]))
      }
    }
    let token = try await controller.adminToken()
    let base = controller.node.url + "/edge/management/v1/services?"
    func list(_ query: String, _ options: String...) throws -> JSONValue {
      try JSONValue(
        parsing: try Self.curl(options + ["--header", "zt-session: " + token, base + query]), limits: .stored)
    }
    let all = "filter=true%20limit%20none"
    for version in ["--http1.1", "--http2", "--http1.0"] {
      let answer = try list(all, version)
      let names = answer["data"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
      #expect(names.count == 1207 && Set(names).count == 1207, "\(version)")
      #expect(
        answer["meta"]?["pagination"] == ["limit": JSONValue(Int.max), "offset": 0, "totalCount": 1207], "\(version)")
      #expect(answer["meta"]?["filterableFields"]?.stringArrayValue?.contains("name") == true, "\(version)")
    }
    for (query, count) in [
      ("limit=-1", 1207), ("filter=limit%20-1&limit=3", 1207), ("limit=-1&offset=1200", 7),
      ("limit=-1&sort=name%20desc&offset=707", 500),
      ("limit=600", 500),
      ("filter=limit%20600", 500), ("limit=501", 500), ("", 10), ("filter=skip%201203%20limit%20none", 4),
      ("filter=anyOf(roleAttributes)%3D%22a%22%20limit%20none", 1207),
    ] {
      let answer = try list(query)
      #expect(answer["data"]?.arrayValue?.count == count, "\(query)")
      #expect(answer["meta"]?["pagination"]?["totalCount"] == 1207, "\(query)")
    }
    // A connection serves the next request behind a long answer, and HEAD has no body.
    let twice = try Self.curl([
      "--http1.1", "--write-out", "%{num_connects} %{http_code} ", "--header", "zt-session: " + token, "--output",
      "/dev/null", base + all,
      "--output", "/dev/null", base + all,
    ])
    #expect(String(decoding: twice, as: UTF8.self) == "1 200 0 200 ")
    // Whoever has many under way gets no further one; pages, and lists of others, are not concerned.
    let admin = try #require(
      try await controller.core.store.read { reader in try reader.all(Identity.self).first(where: \.isDefaultAdmin)?.id
      })
    let places = controller.core.longLists
    func takeAll() -> [Places.Place?] { (0..<places.limitOfOne).map { _ in places.take(for: admin) } }
    // What was read before may be on its way out.
    for _ in 0..<1000 where takeAll().contains(where: { $0 == nil }) { try await Task.sleep(for: .milliseconds(10)) }
    var held = takeAll()
    #expect(held.allSatisfy { $0 != nil } && places.take(for: "another") != nil)
    #expect(try list(all)["error"]?["code"] == "SERVER_TOO_MANY_REQUESTS")
    #expect(try list("limit=500")["data"]?.arrayValue?.count == 500)
    held = []
    #expect(try list(all)["data"]?.arrayValue?.count == 1207)
    await controller.stop()
  }

  @Test("a list that loses entries while it is read stays one that can be read")
  func shrinking() async throws {
    let items = Array(0..<1300)
    let seen = try await APIResponse.list(
      Page(items: items, totalCount: 1300, limit: .max, offset: 0), filterable: ["id"]
    ) { part in
      // The first and the last part are gone.
      part.filter { (600..<900).contains($0) }.map { JSONValue($0) }
    }
    var bytes = seen.body
    let rest = try #require(seen.rest)
    var number = 0
    while let part = try await rest(number) {
      bytes += part
      number += 1
    }
    #expect(number == 2)
    #expect(try JSONValue(parsing: bytes)["data"]?.arrayValue?.count == 300)
    #expect(try await rest(number) == nil)
  }
}
