import Controller
import Foundation
import JSON
import Model
import NIOCore
import NetworkFixture
import PKI
import Testing
import Transport

@testable import SwiftletCommand

@Suite("Deleting at a controller", .timeLimit(.minutes(5)))
struct DeletionTests {
  /// Signed in as the administrator, as a saved login is.
  private static func client(_ network: Network) async throws -> ManagementClient {
    let base = await network.controller.url
    let roots = try await TrustProbe.fetch(base, timeout: .seconds(30))
    let login: JSONValue = ["username": "admin", "password": "admin-password"]
    let answer = try await HTTPSClient(tls: ClientTLS(trust: .anchors(roots))).request(
      method: "POST", base + "/edge/management/v1/authenticate?method=password",
      headers: [("content-type", "application/json")],
      body: login.serialized())
    let token = try JSONValue(parsing: answer.body)["data"]?["token"]?.stringValue ?? ""
    let profile = Profile(
      url: base + "/edge/management/v1", username: "admin", token: token, loginTime: .now(), roots: roots.pem)
    return try ManagementClient(profile: profile, timeout: .seconds(30))
  }

  @Test(
    "what the filter lists is deleted, no more; what somebody else deleted meanwhile is gone, and no failure; what may not go is one"
  )
  func whole() async throws {
    let network = try await Network.start()
    let client = try await Self.client(network)
    for number in 10..<30 { _ = try await network.provisioning.createIdentity(name: "zz\(number)", roleAttributes: []) }
    let selection = try FilterSelection("name contains \"zz\" sort by name desc skip 2 limit 3", of: .identity)
    let found = try await selection.list(client)
    #expect(found.entities.map(\.name) == ["zz27", "zz26", "zz25"] && found.total == 20)

    let deletion = Deletion(client: client, kind: .identity, isQuiet: true)
    let first = try #require(found.entities.first?.id)
    #expect(await deletion.delete(first) == .init(id: first, state: .deleted))
    for entity in found.entities {
      #expect(await deletion.delete(entity.id) == .init(id: entity.id, state: entity.id == first ? .missing : .deleted))
    }
    let left = try await FilterSelection("name contains \"zz\"", of: .identity).list(client)
    #expect(left.entities.count == 17 && !left.entities.contains { ["zz25", "zz26", "zz27"].contains($0.name) })
    let types = try await FilterSelection("name = \"host.v1\"", of: .configType).list(client)
    let builtIn = try #require(types.entities.first?.id)
    let inUse = try await network.api(
      "POST", "/configs",
      ["name": "c", "configTypeId": .string(builtIn), "data": ["protocol": "tcp", "address": "127.0.0.1", "port": 80]])
    #expect(inUse["id"] != nil)
    #expect(await Deletion(client: client, kind: .configType, isQuiet: true).delete(builtIn).isFailure)
    await network.stop()
  }
}
