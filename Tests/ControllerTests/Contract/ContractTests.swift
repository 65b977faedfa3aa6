import JSON
import Model
import REST
import Store
import Testing
import Transport

@testable import Controller

/// Every operation that OpenZiti's OpenAPI documents declare, asked of a controller in process.
@Suite("The contract of the REST APIs", .timeLimit(.minutes(5)))
struct ContractTests {
  private struct Bench {
    let controller: LiveController
    let server: APIServer
    let base: String
    let token: String
    let operations: [DeclaredOperation]
    let absent: [String]

    static func open(isManagement: Bool) async throws -> Bench {
      let controller = try await LiveController.start()
      let base = isManagement ? "/edge/management/v1" : "/edge/client/v1"
      let login = await controller.ask(
        "POST", base + "/authenticate", query: [("method", "password")],
        ["username": "admin", "password": "admin-password"])
      return Bench(
        controller: controller, server: ControllerNode.server(controller.core), base: base,
        token: try #require(login.data["token"]?.stringValue),
        operations: DeclaredOperation.table(isManagement ? DeclaredOperations.management : DeclaredOperations.client),
        absent: isManagement ? DeclaredOperations.absent.management : DeclaredOperations.absent.client)
    }

    var served: [DeclaredOperation] { operations.filter { !$0.isAmong(absent) } }

    func ask(
      _ method: String, _ path: String, query: [(name: String, value: String)] = [], _ body: [UInt8] = [],
      type: String? = "application/json",
      isStranger: Bool = false
    ) async -> LiveController.Answer {
      var headers: [(name: String, value: String)] = isStranger ? [] : [("zt-session", token)]
      if let type, !body.isEmpty { headers.append(("content-type", type)) }
      let response = await server.respond(
        to: APIRequest(
          method: method, path: base + path.replacing("{id}", with: "nosuch").replacing("{serviceId}", with: "nosuch"),
          query: query,
          headers: headers,
          body: body, peer: .anonymous(), requestID: "contract"))
      return LiveController.Answer(
        status: response.status, headers: response.headers, text: String(decoding: response.body, as: UTF8.self))
    }

    func ask(_ operation: DeclaredOperation, query: [(name: String, value: String)] = [], _ body: JSONValue) async
      -> LiveController.Answer
    {
      await ask(
        operation.method, operation.path, query: query + operation.words.map { ($0.name, $0.words[0]) },
        body.serialized())
    }
  }

  private static func isEnvelope(_ answer: LiveController.Answer) -> Bool {
    answer.code != nil && answer.json["error"]?["message"]?.stringValue != nil
      && answer.json["error"]?["requestId"] == "contract"
      && answer.json["meta"]?["apiVersion"] != nil && answer.header("content-type") == "application/json"
  }

  @Test(
    "every declared operation is served, but for those of things this network does not have; strangers get what is open to them",
    arguments: [true, false])
  func presence(_ isManagement: Bool) async throws {
    let bench = try await Bench.open(isManagement: isManagement)
    #expect(bench.operations.count == (isManagement ? 199 : 59))
    for operation in bench.operations {
      let answer = await bench.ask(operation.method, operation.path, isStranger: true)
      let isAbsent = operation.isAmong(bench.absent)
      #expect([404, 405].contains(answer.status) == isAbsent, "\(operation): \(answer.text)")
      if answer.status >= 400 { #expect(Self.isEnvelope(answer), "\(operation): \(answer.text)") }
      if operation.isOpen, !isAbsent { #expect(answer.status != 401, "\(operation)") }
      if !operation.isOpen, !isAbsent, !operation.path.hasPrefix("/enroll"),
        !["/network-jwts", "/external-jwt-signers"].contains(operation.path)
      {
        #expect(answer.status == 401, "\(operation)")
      }
    }
    await bench.controller.stop()
  }

  @Test("a method that a path does not know is answered 405, with those it knows in Allow", arguments: [true, false])
  func methods(_ isManagement: Bool) async throws {
    let bench = try await Bench.open(isManagement: isManagement)
    for (path, operations) in Dictionary(grouping: bench.served, by: \.path) {
      let known = Set(operations.map(\.method))
      for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "TRACE"] where !known.contains(method) {
        let answer = await bench.ask(method, path)
        #expect(answer.status == 405, "\(method) \(path)")
        #expect(answer.header("allow") == known.sorted().joined(separator: ", "), "\(method) \(path)")
        #expect(Self.isEnvelope(answer))
      }
    }
    await bench.controller.stop()
  }

  @Test(
    "a body of another media type is answered 415, one that is required and missing or no JSON 400",
    arguments: [true, false])
  func bodies(_ isManagement: Bool) async throws {
    let bench = try await Bench.open(isManagement: isManagement)
    for operation in bench.served where operation.method != "GET" {
      let query = operation.words.map { (name: $0.name, value: $0.words[0]) }
      for type in ["application/x-www-form-urlencoded", "text/html", "application/xml"] {
        let answer = await bench.ask(operation.method, operation.path, query: query, Array("{}".utf8), type: type)
        #expect(answer.status == 415 && answer.code == "COULD_NOT_VALIDATE", "\(operation) \(type): \(answer.text)")
        #expect(Self.isEnvelope(answer))
      }
      guard operation.body != nil else { continue }
      if operation.isBodyRequired {
        let answer = await bench.ask(operation.method, operation.path, query: query)
        #expect(answer.status == 400, "\(operation) without a body: \(answer.text)")
      }
      let broken = await bench.ask(operation.method, operation.path, query: query, Array("{".utf8))
      #expect(broken.status == 400 && broken.code == "COULD_NOT_PARSE_BODY", "\(operation): \(broken.text)")
    }
    await bench.controller.stop()
  }

  @Test(
    "a member that is missing, of the wrong type, no word of the document or out of its range is answered 400 and named",
    arguments: [true, false])
  func members(_ isManagement: Bool) async throws {
    let bench = try await Bench.open(isManagement: isManagement)
    var count = 0
    for operation in bench.served {
      guard let body = operation.body else { continue }
      let index = try await bench.controller.core.store.currentIndex()
      for breach in DeclaredType(body).breaches {
        count += 1
        let answer = await bench.ask(operation, breach.value)
        #expect(
          answer.status == 400, "\(operation): a body that \(breach.reason) is answered \(answer.status) \(answer.text)"
        )
        #expect(
          answer.json["error"]?["cause"]?["field"] != nil, "\(operation): a body that \(breach.reason): \(answer.text)")
      }
      #expect(try await bench.controller.core.store.currentIndex() == index, "\(operation) changed something")
    }
    #expect(count > (isManagement ? 500 : 80), "\(count) bodies were tried")
    await bench.controller.stop()
  }

  @Test(
    "a word of the query that the document does not know is answered 400; a page or an order that makes no sense too",
    arguments: [true, false])
  func queries(_ isManagement: Bool) async throws {
    let bench = try await Bench.open(isManagement: isManagement)
    for operation in bench.served {
      for parameter in operation.words {
        let answer = await bench.ask(operation.method, operation.path, query: [(parameter.name, "bogus")])
        #expect(
          answer.status == 400 && answer.json["error"]?["cause"]?["field"] == .string(parameter.name),
          "\(operation): \(answer.text)")
      }
      guard operation.isPaged else { continue }
      if !operation.path.contains("{") {
        for (name, value) in [("limit", "many"), ("offset", "-1"), ("filter", "(")] {
          let answer = await bench.ask("GET", operation.path, query: [(name, value)])
          #expect(answer.status == 400, "\(operation)?\(name)=\(value): \(answer.text)")
        }
      }
    }
    for path in ["/services", "/current-identity/authenticators"]
      + (isManagement ? ["/identities", "/terminators", "/identity-types"] : ["/sessions"])
    {
      #expect(await bench.ask("GET", path, query: [("sort", "nosuch")]).code == "INVALID_SORT_IDENTIFIER", "\(path)")
      #expect(
        await bench.ask("GET", path, query: [("sort", "id sideways")]).code == "INVALID_SORT_IDENTIFIER", "\(path)")
      #expect(
        await bench.ask("GET", path, query: [("filter", "true sort by nosuch")]).code == "INVALID_FILTER", "\(path)")
      let tail = await bench.ask("GET", path, query: [("sort", "id skip 1")])
      #expect(tail.status == 200 && tail.json["meta"]?["pagination"]?["offset"] == 1, "\(path): \(tail.text)")
    }
    if isManagement {
      #expect(
        await bench.ask("GET", "/services", query: [("sort", "roleAttributes")]).code == "INVALID_SORT_IDENTIFIER")
    } else {
      // A method that is known, and proves nothing here.
      let external = await bench.ask("POST", "/authenticate", query: [("method", "ext-jwt")])
      #expect(external.status == 401 && external.code == "INVALID_AUTH")
    }
    await bench.controller.stop()
  }
}
