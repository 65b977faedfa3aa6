import NIOCore
import NIOPosix
import Testing

@testable import Transport

@Suite("Enveloped REST", .timeLimit(.minutes(5)))
struct RESTClientTests {
  private struct Item: Decodable, Sendable { var id: String }

  private func client(_ bases: String...) -> RESTClient {
    RESTClient(bases: bases, tls: ClientTLS(trust: .any), allowsPlaintext: true)
  }

  /// Asks a server that gives that answer.
  private func ask(_ status: Int, _ body: String) async throws -> RESTEnvelope<[Item]> {
    var envelope: RESTEnvelope<[Item]>?
    try await ScriptedServer.run(.init { _, _ in ScriptedServer.answer(status, body) }) { server, base in
      envelope = try await client(base + "/api").envelope("GET", "/items", token: "t", of: [Item].self)
      #expect(server.requests.first?.hasPrefix("GET /api/items HTTP/1.1") == true)
      #expect(server.requests.first?.contains("zt-session: t") == true)
    }
    return try #require(envelope)
  }

  @Test("data and the number of all there is are read")
  func good() async throws {
    let envelope = try await ask(200, #"{"data":[{"id":"a"},{"id":"b"}],"meta":{"pagination":{"totalCount":7}}}"#)
    #expect(envelope.data.map(\.id) == ["a", "b"] && envelope.meta?.pagination?.totalCount == 7)
  }

  @Test("a refusal has its code, its message and what it comes of")
  func refused() async throws {
    let body =
      #"{"error":{"code":"UNAUTHORIZED","message":"no session","cause":{"field":"token","reason":"it ended"}}}"#
    do {
      _ = try await ask(401, body)
      Issue.record("it was answered")
    } catch let error as RESTError {
      guard case .refused(let refusal) = error.problem else {
        Issue.record("\(error)")
        return
      }
      #expect(refusal.status == 401 && refusal.code == "UNAUTHORIZED" && refusal.cause?.field == "token")
      #expect(refusal.sentence == "no session: it ended")
      #expect("\(error)".hasPrefix("GET /items at http://127.0.0.1:"))
      #expect("\(error)".hasSuffix("refused: no session: it ended (UNAUTHORIZED, HTTP 401)"))
    }
  }

  @Test("a refusal without an envelope is one", arguments: ["", "<html>", "[]", #"{"error":"no"}"#, #"{"data":{}}"#])
  func refusedInWords(body: String) async throws {
    do {
      _ = try await ask(502, body)
      Issue.record("it was answered")
    } catch let error as RESTError {
      guard case .refused(let refusal) = error.problem else {
        Issue.record("\(error)")
        return
      }
      #expect(refusal.status == 502 && refusal.code == nil && refusal.sentence == "no reason given")
    }
  }

  @Test(
    "an answer that is no envelope, or has other data, cannot be read",
    arguments: ["", "good", "{}", #"{"meta":{}}"#, #"{"data":{}}"#, #"{"data":[{"name":"a"}]}"#])
  func unreadable(body: String) async throws {
    do {
      _ = try await ask(200, body)
      Issue.record("it was read")
    } catch let error as RESTError {
      guard case .unreadable = error.problem else {
        Issue.record("\(error)")
        return
      }
    }
  }

  @Test("the first server that answers is the one; where none does, the last one's reason is told")
  func several() async throws {
    let nobody = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(
      host: "127.0.0.1", port: 0
    ).get()
    let port = try #require(nobody.localAddress?.port)
    try await nobody.close()
    let dead = "http://127.0.0.1:\(port)"
    try await ScriptedServer.run(.init { _, _ in ScriptedServer.answer(404, "{}") }) { server, base in
      let answer = try await client(dead, base).send("GET", "/x", token: nil)
      #expect(answer.status == 404 && server.requests.count == 1)
    }
    do throws(RESTError) {
      _ = try await client(dead).send("GET", "/x", token: nil)
      Issue.record("it was answered")
    } catch {
      let reason = "cannot connect to 127.0.0.1:\(port): Connection refused"
      #expect(error == RESTError(request: "GET /x", address: dead, problem: .unreachable(reason: reason)))
    }
  }
}
