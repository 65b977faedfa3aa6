import ArgumentParser
import Foundation
import JSON
import Logging
import Model
import NIOCore
import PKI
import Testing
import Transport

@testable import Controller
@testable import SwiftletCommand

@Suite("A kind is one declaration", .timeLimit(.minutes(5)))
struct DeclaredKindTests {
  /// A controller that serves gadgets, and its administrator.
  private static func withGadgets(_ body: (ManagementClient) async throws -> Void) async throws {
    let directory = NSTemporaryDirectory() + "swiftlet-kinds-" + UUID().uuidString
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let node = try await ControllerNode(
      configuration: ControllerConfiguration(dataDirectory: directory, host: "127.0.0.1", port: 0), logger: logger,
      kinds: [Gadget.self])
    try await node.start()
    try await node.provisioning.setAdminPassword(username: "admin", password: "admin-password")
    _ = try await node.provisioning.createIdentity(name: "alice", roleAttributes: [])
    let serving = Task { try? await node.run() }
    let roots = try await TrustProbe.fetch(node.url, timeout: .seconds(30))
    let login: JSONValue = ["username": "admin", "password": "admin-password"]
    let answer = try await HTTPSClient(tls: ClientTLS(trust: .anchors(roots))).request(
      method: "POST", node.url + "/edge/management/v1/authenticate?method=password",
      headers: [("content-type", "application/json")], body: login.serialized())
    let token = try JSONValue(parsing: answer.body)["data"]?["token"]?.stringValue ?? ""
    let client = try ManagementClient(
      profile: Profile(
        url: node.url + "/edge/management/v1", username: "admin", token: token, loginTime: .now(), roots: roots.pem),
      timeout: .seconds(30))
    var failure: (any Error)?
    do { try await body(client) } catch { failure = error }
    serving.cancel()
    await serving.value
    try? FileManager.default.removeItem(atPath: directory)
    if let failure { throw failure }
  }

  @Test("its documents are made, listed, filtered, shown, changed and deleted over REST")
  func rest() async throws {
    try await Self.withGadgets { client in
      let alice = try await NameResolver(client: client).id(.identity, "alice")
      func send(_ method: String, _ path: String, _ body: JSONObject? = nil, filter: String? = nil) async throws
        -> JSONValue
      {
        try await client.send(
          method, "/gadgets" + path, query: filter.map { [("filter", $0)] } ?? [], body: body, doing: "test")
      }
      let made = try await send("POST", "", ["name": "lamp", "color": "Red", "ownerId": .string(alice), "weight": 3])
      let id = try #require(made["data"]?["id"]?.stringValue)
      _ = try await send("POST", "", ["name": "fan", "color": "Green", "ownerId": .string(alice)])
      let wrong: [JSONObject] = [
        ["color": "Red", "ownerId": .string(alice)],
        ["name": "x", "color": "Blue", "ownerId": .string(alice)],
        ["name": "x", "color": "Red", "ownerId": "nobody"],
        ["name": "x", "color": "Red", "ownerId": .string(alice), "weight": 101],
        ["name": "x", "color": "Red", "ownerId": .string(alice), "roleAttributes": ["#x"]],
        ["name": "lamp", "color": "Red", "ownerId": .string(alice)],
      ]
      for body in wrong { await #expect(throws: CommandFailure.self) { _ = try await send("POST", "", body) } }

      func names(_ filter: String) async throws -> [String] {
        try await send("GET", "", filter: filter)["data"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
      }
      #expect(try await names("true sort by name") == ["fan", "lamp"])
      #expect(try await names("weight > 2") == ["lamp"])
      #expect(try await names("color = \"Green\" and owner = \"\(alice)\"") == ["fan"])
      await #expect(throws: CommandFailure.self) { _ = try await names("ownerId = \"x\"") }
      let fields = try await send("GET", "")["meta"]?["filterableFields"]?.stringArrayValue
      #expect(
        fields == [
          "color", "createdAt", "id", "isSystem", "name", "owner", "roleAttributes", "tags", "updatedAt", "weight",
        ])

      _ = try await send("PATCH", "/" + id, ["weight": 4, "roleAttributes": ["x"]])
      let lamp = try await send("GET", "/" + id)["data"]
      #expect(lamp?["weight"] == 4 && lamp?["color"] == "Red" && lamp?["roleAttributes"] == ["x"])
      #expect(lamp?["owner"]?["name"] == "alice" && lamp?["isSystem"] == nil)
      // A replacement sets what it leaves out to its default, and the owner stays.
      _ = try await send("PUT", "/" + id, ["name": "torch", "color": "Green"])
      let torch = try await send("GET", "/" + id)["data"]
      #expect(torch?["weight"] == 1 && torch?["ownerId"] == .string(alice) && torch?["roleAttributes"] == [])
      _ = try await send("DELETE", "/" + id)
      #expect(try await names("true") == ["fan"])
    }
  }

  @Test("the command line makes, lists, shows, changes and deletes them")
  func commands() async throws {
    let kind = EntityDescription(Gadget.self)
    #expect(kind.columns.map(\.header) == ["ID", "Name", "Color", "Weight", "Attributes", "Owner"])
    try await Self.withGadgets { client in
      func create(_ words: String...) async throws {
        try await Create<NewDeclared<Gadget>>.parse(words).run(client)
      }
      try await create("lamp", "red", "alice", "--weight", "3", "-a", "x,y", "-t", "room=hall")
      try await create("fan", "Green", "alice")
      let found = try await FilterSelection("weight > 2", of: kind).list(client)
      #expect(found.entities.map(\.name) == ["lamp"])

      let names = NameResolver(client: client)
      let lamp = try await names.entity(kind, "lamp")
      #expect(kind.columns.dropFirst().map { $0.text(lamp) } == ["lamp", "Red", "3", "x,y", "alice"])
      #expect(lamp["tags"] == ["room": "hall"])
      try await Update<DeclaredChange<Gadget>>.parse(["lamp", "--name", "torch", "-w", "5"]).run(client)
      let torch = try await names.entity(kind, "torch")
      #expect(torch["weight"] == 5 && torch["roleAttributes"] == ["x", "y"] && torch["id"] == lamp["id"])
      let id = try #require(torch["id"]?.stringValue)
      #expect(await Deletion(client: client, kind: kind, isQuiet: true).delete(id) == .init(id: id, state: .deleted))
      #expect(try await names.matches(kind, "torch").isEmpty)
    }
  }

  @Test("words that are missing, and options that nothing declares, are refused; help tells of those that are")
  func words() throws {
    typealias New = Create<NewDeclared<Gadget>>
    let wrong = [
      ["lamp"], ["lamp", "Red"], ["lamp", "Red", "alice", "more"], ["lamp", "Red", "alice", "--color", "x"],
    ]
    for words in wrong { #expect(throws: (any Error).self) { try New.parse(words) } }
    let help = New.helpMessage()
    let told = [
      "<name>", "<color>", "<owner-id>", "--weight <kg>", "Kilograms.", "--role-attributes", "lamp Red alice",
    ]
    for word in told { #expect(help.contains(word), "\(word) in \(help)") }
    #expect(throws: (any Error).self) { try Update<DeclaredChange<Gadget>>.parse(["lamp", "--color", "Red"]) }
  }

  @Test("policies keep their words: a semantic of AnyOf to create, none to change")
  func policies() throws {
    typealias New = Create<NewDeclared<ServicePolicy>>
    let new = try New.parse(["p", "dial", "--service-roles", "#a,@b", "--service-roles", "#c", "--identity-roles", ""])
    #expect(
      new.new.fields.given == [
        "name": ["p"], "type": ["dial"], "semantic": ["AnyOf"], "serviceRoles": ["#a", "@b", "#c"], "identityRoles": [],
      ])
    let change = try Update<DeclaredChange<ServicePolicy>>.parse(["p", "-n", "q"])
    #expect(change.name == "p" && change.change.fields.given == ["name": ["q"]])
  }
}
