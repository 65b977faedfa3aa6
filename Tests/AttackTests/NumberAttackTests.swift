import JSON
import Model
import NetworkFixture
import Testing
import Transport
import Wire

/// A7 of field.md D.4 for texts: numbers that claim lengths, counts and ports. Frames, DER and parts of the encrypted
/// stream are tried where their parsers are tested (`WireTests`, `PKITests`, `SealedStreamTests`), and all of them by
/// `./run fuzz`.
@Suite("Numbers at their extremes", .timeLimit(.minutes(5)))
struct NumberAttackTests {
  private static let numbers = [
    "0", "-0", "-1", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808",
    "18446744073709551615", "18446744073709551616", "1e9", "1e999", "0x7fffffff",
    "99999999999999999999999999999999999999999", "", " ", "+1", "١",
  ]

  @Test("limits and offsets of a list are within bounds or an error", arguments: numbers)
  func filters(_ number: String) {
    for text in [
      "limit \(number)", "skip \(number)", "true limit \(number) skip \(number)", "a = \(number)",
      "anyOf(a) > \(number) sort by a",
    ] {
      guard let query = try? FilterQuery(parsing: text) else { continue }
      let page = PageRequest().resolved(with: query)
      let isBounded = (1...PageRequest.maximumLimit).contains(page.limit.count) || query.limit == .count(-1)
      #expect(isBounded && (0...PageRequest.maximumOffset).contains(page.offset), "\(text)")
    }
  }

  @Test("numbers of documents, configurations and addresses are values or errors", arguments: numbers)
  func documents(_ number: String) {
    for text in [number, "[\(number)]", "{\"a\":\(number)}", "\"\\u\(number)\""] {
      guard let value = try? JSONValue(parsing: Array(text.utf8)) else { continue }
      _ = (value.intValue, value["a"]?.intValue, value.serialized())
    }
    for text in ["a: \(number)\n", "a: \(number)s\n", "a: \(number)h\n"] {
      guard let document = try? StrictDocument(text: text, file: "f") else { continue }
      if let value = try? document.root.int("a", in: 1...10) { #expect((1...10).contains(value)) }
      _ = try? document.root.duration("a")
    }
    if let address = try? PeerAddress(parsing: "tls:host:\(number)") { #expect((0...65535).contains(address.port)) }
    if let time = Timestamp("\(number)-01-01T00:00:00Z") { #expect(time.text.utf8.count == 24) }
  }

  @Test("lengths of requests, of chunks and of HTTP/2 frames leave the API serving")
  func requests() async throws {
    let scene = try await Scene.start()
    let head = "POST /edge/client/v1/authenticate?method=cert HTTP/1.1\r\nhost: c\r\n"
    var attacks = Self.numbers.map { Array("\(head)content-length: \($0)\r\n\r\n{}".utf8) }
    attacks += Self.numbers.map { Array("\(head)transfer-encoding: chunked\r\n\r\n\($0)\r\n{}\r\n".utf8) }
    attacks += ["ffffffff", "7fffffff", "ffffffffffffffff", "fffffffffffffffff"].map {
      Array("\(head)transfer-encoding: chunked\r\n\r\n\($0)\r\n{}".utf8)
    }
    attacks.append(Array("\(head)content-length: 2\r\ncontent-length: 3\r\n\r\n{}".utf8))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for attack in attacks {
        group.addTask {
          let answered = try await Scene.exchange(
            attack, at: scene.controller, alpn: ALPN.http1, as: scene.stranger.credential)
          #expect(!answered.starts(with: Array("HTTP/1.1 5".utf8)), "\(String(decoding: attack, as: UTF8.self))")
        }
      }
      try await group.waitForAll()
    }
    // SETTINGS, HEADERS, DATA, WINDOW_UPDATE and an unknown frame that claim 16 MiB.
    let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    for type: UInt8 in [4, 1, 0, 8, 0xee] {
      _ = try await Scene.exchange(
        preface + [0xff, 0xff, 0xff, type, 0, 0, 0, 0, 1], at: scene.controller, alpn: ALPN.http2,
        as: scene.stranger.credential)
    }
    #expect(try await scene.logIn(scene.victim.credential) != nil)
    await scene.stop()
  }
}
