import NIOCore
import Testing

@testable import Transport

@Suite("Connections that are kept between requests", .timeLimit(.minutes(5)))
struct KeptConnectionsTests {
  private let client = HTTPSClient(tls: ClientTLS(trust: .any), allowsPlaintext: true, keepsConnections: true)

  @Test("two requests use one connection, and a client that keeps none has one each")
  func one() async throws {
    try await ScriptedServer.run(.init { number, _ in ScriptedServer.answer(200, "\(number)") }) { server, base in
      for method in ["GET", "POST", "GET", "DELETE"] {
        let answer = try await client.request(method: method, base + "/a?b", body: method == "POST" ? [1, 2] : [])
        #expect(answer.status == 200 && answer.body == Array("\(server.requests.count - 1)".utf8))
      }
      #expect(server.connections == 1)
      #expect(client.connectionsMade == 1)
      #expect(server.requests.allSatisfy { !$0.lowercased().contains("connection:") })
      let plain = HTTPSClient(tls: ClientTLS(trust: .any), allowsPlaintext: true)
      for _ in 0..<2 { _ = try await plain.request(base + "/") }
      #expect(server.connections == 3)
      #expect(server.requests.suffix(2).allSatisfy { $0.lowercased().contains("connection: close") })
    }
  }

  @Test("a connection that the server ended in between is not used again")
  func endedBetween() async throws {
    try await ScriptedServer.run(
      .init { number, _ in
        number == 0 ? .end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") : ScriptedServer.answer()
      }
    ) { server, base in
      _ = try await client.request(base + "/")
      try await eventually("the end is seen") { server.open == 0 }
      #expect(try await client.request(base + "/").status == 200)
      #expect(server.connections == 2 && server.requests.count == 2)
    }
  }

  @Test("a server that says that it closes is taken at its word")
  func saidSo() async throws {
    try await ScriptedServer.run(.init { _, _ in ScriptedServer.answer(headers: "connection: close\r\n") }) {
      server, base in
      for _ in 0..<3 { _ = try await client.request(base + "/") }
      #expect(server.connections == 3)
    }
  }

  @Test(
    "what the server ended without a word of an answer is asked once more, where it may be done twice",
    arguments: [("GET", true), ("PUT", true), ("POST", false), ("PATCH", false)])
  func endedUnanswered(method: String, isRepeated: Bool) async throws {
    try await ScriptedServer.run(.init { number, _ in number == 1 ? .end("") : ScriptedServer.answer() }) {
      server, base in
      _ = try await client.request(base + "/")
      if isRepeated {
        #expect(try await client.request(method: method, base + "/", body: method == "GET" ? nil : []).status == 200)
        #expect(server.requests.count == 3 && server.connections == 2)
      } else {
        await #expect(throws: TransportError.self) {
          _ = try await client.request(method: method, base + "/", body: method == "GET" ? nil : [])
        }
        #expect(server.requests.count == 2)
      }
    }
  }

  @Test("a server that ends every connection is not asked without end")
  func endedAlways() async throws {
    try await ScriptedServer.run(.init { number, _ in number == 0 ? ScriptedServer.answer() : .end("") }) {
      server, base in
      _ = try await client.request(base + "/")
      await #expect(throws: TransportError.self) { _ = try await client.request(base + "/") }
      #expect(server.requests.count == 3)
    }
  }

  @Test("half an answer is a failure, and nothing is asked again", arguments: ["GET", "POST"])
  func halfAnAnswer(method: String) async throws {
    try await ScriptedServer.run(
      .init { number, _ in
        number == 1 ? .end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc") : ScriptedServer.answer()
      }
    ) { server, base in
      _ = try await client.request(base + "/")
      await #expect(throws: TransportError.self) {
        _ = try await client.request(method: method, base + "/", body: method == "GET" ? nil : [])
      }
      #expect(server.requests.count == 2)
      #expect(try await client.request(base + "/").status == 200)
    }
  }

  @Test("an answer beyond the limit is cut off with its connection")
  func tooLarge() async throws {
    let large = String(repeating: "x", count: 10_000)
    try await ScriptedServer.run(.init { number, _ in ScriptedServer.answer(200, number == 0 ? large : "small") }) {
      server, base in
      do {
        _ = try await client.request(base + "/", maxBody: 9_999)
        Issue.record("it was taken")
      } catch TransportError.answerTooLarge(let limit) { #expect(limit == 9_999) }
      #expect(try await client.request(base + "/", maxBody: 5).body == Array("small".utf8))
      #expect(server.connections == 2)
    }
  }

  @Test("an answer that does not come is waited for so long, and its connection is used no more")
  func stalled() async throws {
    try await ScriptedServer.run(.init { number, _ in number == 1 ? .silence : ScriptedServer.answer() }) {
      server, base in
      _ = try await client.request(base + "/")
      do {
        _ = try await client.request(base + "/", timeout: .milliseconds(200))
        Issue.record("it was answered")
      } catch TransportError.timedOut {}
      #expect(try await client.request(base + "/").status == 200)
      #expect(server.connections == 2 && server.requests.count == 3)
    }
  }

  @Test("an answer that nobody asked for ends its connection")
  func unasked() async throws {
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"
    try await ScriptedServer.run(.init { number, _ in .answer(number == 0 ? twice + twice : twice) }) { server, base in
      #expect(try await client.request(base + "/").body == Array("a".utf8))
      try await eventually("it has ended") { server.open == 0 }
      #expect(try await client.request(base + "/").status == 200)
      #expect(server.connections == 2)
    }
  }

  @Test("many requests at once take turns on a few connections")
  func turns() async throws {
    try await ScriptedServer.run(.init { _, _ in ScriptedServer.answer() }) { server, base in
      try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<40 { group.addTask { [client] in try await client.request(base + "/").status } }
        for try await status in group { #expect(status == 200) }
      }
      #expect(server.requests.count == 40)
      #expect((1...4).contains(server.connections))
    }
  }

  @Test("whoever waits for a turn waits no longer than for an answer")
  func noTurn() async throws {
    try await ScriptedServer.run(.init { _, _ in .silence }) { server, base in
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<4 {
          group.addTask { [client] in _ = try? await client.request(base + "/", timeout: .seconds(4)) }
        }
        group.addTask { [client] in
          try? await eventually("all turns are taken") { server.requests.count == 4 }
          await #expect(throws: TransportError.self) {
            _ = try await client.request(base + "/", timeout: .milliseconds(200))
          }
          #expect(server.requests.count == 4)
        }
      }
      // The turns are given back.
      await #expect(throws: TransportError.self) {
        _ = try await client.request(base + "/", timeout: .milliseconds(200))
      }
      #expect(server.requests.count == 5)
    }
  }

  @Test("a client that is closed leaves no connection open, and neither does one that is gone")
  func closed() async throws {
    try await ScriptedServer.run(.init { _, _ in ScriptedServer.answer() }) { server, base in
      _ = try await client.request(base + "/")
      client.close()
      try await eventually("its connection has ended") { server.open == 0 }
      #expect(try await client.request(base + "/").status == 200)
      try await eventually("what came later has ended too") { server.open == 0 }
      var other: HTTPSClient? = HTTPSClient(
        tls: ClientTLS(trust: .any), allowsPlaintext: true, keepsConnections: true)
      _ = try await other?.request(base + "/")
      #expect(server.open == 1)
      other = nil
      try await eventually("it took its connection along") { server.open == 0 }
    }
  }
}
