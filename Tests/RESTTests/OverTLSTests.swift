import Foundation
import JSON
import Logging
import Model
import NIOCore
import PKI
import REST
import Synchronization
import Testing
import Transport

/// The same API through sockets, TLS and HTTP/1.1.
@Suite("The API over TLS", .timeLimit(.minutes(5)))
struct OverTLSTests {
  /// Runs `body` with a client and the base URL of a listener.
  private func withServer(_ body: @Sendable (HTTPSClient, String) async throws -> Void) async throws {
    let now = Date()
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    let key = try PrivateKey.generate(.p256)
    let identity = try ServerIdentity(
      chain: authority.issueServer(publicKey: key.publicKey, names: ["127.0.0.1"], uris: [], now: now), key: key)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let requests = Atomic(0)
    let acceptor = HTTPAcceptor(TestAPI.server) { "q\(requests.add(1, ordering: .relaxed).newValue)" }
    let listener = TLSListener(
      host: "127.0.0.1", port: 0, identity: identity, acceptors: [(alpn: ["h2", "http/1.1"], acceptor: acceptor)],
      fallback: acceptor, logger: logger)
    let port = try #require(try await listener.start().port)
    let client = HTTPSClient(tls: ClientTLS(trust: .anchors(TrustAnchors([authority.chain.leaf]))))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await listener.run() }
      try await body(client, "https://127.0.0.1:\(port)")
      listener.stop()
      tasks.cancelAll()
      do { try await tasks.waitForAll() } catch is CancellationError {}
    }
  }

  private func json(_ answer: HTTPAnswer) throws -> JSONValue { try JSONValue(parsing: answer.body) }

  @Test("requests, queries, errors and headers pass through")
  func passThrough() async throws {
    try await withServer { client, base in
      let version = try await client.request(
        base + "/edge/client/v1/version", headers: [("accept", "application/json")])
      #expect(version.status == 200)
      #expect(try json(version)["data"]?["base"] == "/edge/client/v1")
      #expect(version.header("content-type") == "application/json")
      #expect(version.header("ziti-instance-id") == "instance")
      #expect(version.header("content-length") == "\(version.body.count)")

      let item = try await client.request(base + "/items/a%2Fb%20c")
      #expect(try json(item)["data"] == "a/b c")
      let query = try await client.request(base + "/query?q=a+b%2Bc%26d&list=x,y&list%5B%5D=z&&=&missing=")
      #expect(try json(query)["data"] == ["a b+c&d", ["x", "y", "z"], ""])
      let missing = try await client.request(method: "DELETE", base + "/nothing?x=1")
      #expect(missing.status == 404)
      #expect(try json(missing)["error"]?["requestId"]?.stringValue?.hasPrefix("q") == true)
      let page = try await client.request(base + "/items?limit=2&filter=" + "true%20skip%203")
      #expect(try json(page)["data"] == [3, 4])
    }
  }

  @Test("a body of one mebibyte is taken whole")
  func wholeBody() async throws {
    try await withServer { client, base in
      let body = [UInt8](repeating: 0x61, count: APIServer.bodyLimit)
      let answer = try await client.request(
        method: "POST", base + "/echo",
        headers: [("content-type", "text/plain; charset=utf-8"), ("zt-session", "user")], body: body)
      #expect(answer.status == 200)
      #expect(try json(answer)["data"] == ["size": JSONValue(body.count), "type": "text/plain"])
    }
  }

  @Test("a body above the limit is answered with 413, while it is still being sent or before")
  func overLimit() async throws {
    try await withServer { client, base in
      let sent = try await client.request(
        method: "POST", base + "/echo", body: [UInt8](repeating: 0x61, count: 2 * APIServer.bodyLimit))
      let announced = try await client.request(
        method: "POST", base + "/echo",
        headers: [("content-length", "\(APIServer.bodyLimit + 1)"), ("expect", "100-continue")])
      for answer in [sent, announced] {
        #expect(answer.status == 413)
        #expect(try json(answer)["error"]?["code"] == "REQUEST_ENTITY_TOO_LARGE")
      }
    }
  }
}
