import AgentProtocol
import Controller
import JSON
import Model
import Store
import SwiftletShare
import WireSchemas

/// Agents that take orders of the API (zrok.md 2.5).
extension ShareCore {
  /// Makes the identity that agents are dialled with, once.
  func openAgents() async throws {
    let file = OwnIdentityFile(configuration.directory + "/agent-controller.json")
    let known = try await isKnown(file) { try $0.get(ShareAgentController.self, ShareAgentController.onlyID) != nil }
    let (tags, name) = (tags, "share-" + ShareAgentController.onlyID)
    try await network.write(author: "share service") { change in
      let row = try change.store.get(ShareAgentController.self, ShareAgentController.onlyID)
      guard row == nil || !known else { return }
      let credentials =
        try row.map { try change.issueCredentials(identity: $0.zId) }
        ?? change.createEnrolledIdentity(name: name, tags: tags)
      if row == nil {
        _ = try change.createEdgeRouterPolicy(name: name, identity: credentials.identityID, tags: tags)
        try change.store.put(ShareAgentController(id: ShareAgentController.onlyID, zId: credentials.identityID))
      }
      if !change.isRehearsal { try file.stage(credentials) }
    }
    try file.settle()
    agents.use(try file.load())
  }

  /// - Returns: the enrollment's token.
  func enrollAgent(_ accountID: String, environment id: String) async throws -> String {
    let token = ShareTokens.secret()
    let base = tags
    return try await network.write(author: accountID) { change in
      let store = change.store
      _ = try store.environment(id, of: accountID)
      guard try store.get(ShareAgentEnrollment.self, id) == nil else {
        throw ShareRefusal(400, "the agent of environment \(id) is enrolled already; unenroll it first")
      }
      guard let controller = try store.get(ShareAgentController.self, ShareAgentController.onlyID) else {
        throw ShareRefusal(500, "this service has no identity to reach agents with")
      }
      var tags = base
      tags["zrokAgentRemote"] = .string(token)
      tags["zrokEnvZId"] = .string(id)
      let service = try change.createService(name: token, configs: [], tags: tags)
      let bind = try change.createServicePolicy(
        name: "\(id)-\(token)-bind", type: .bind, identities: [id], service: service, tags: tags)
      let dial = try change.createServicePolicy(
        name: "\(id)-\(token)-dial", type: .dial, identities: [controller.zId], service: service, tags: tags)
      let routers = try change.createServiceEdgeRouterPolicy(name: token, service: service, tags: tags)
      try store.put(
        ShareAgentEnrollment(
          id: id, token: token, serviceId: service, bindPolicyId: bind, dialPolicyId: dial, routerPolicyId: routers))
      return token
    }
  }

  func unenrollAgent(_ accountID: String, environment id: String) async throws {
    try await network.write(author: accountID) { change in
      _ = try change.store.environment(id, of: accountID)
      guard let enrollment = try change.store.get(ShareAgentEnrollment.self, id) else {
        throw ShareRefusal(400, "the agent of environment \(id) is not enrolled")
      }
      try Self.remove(enrollment, change)
    }
  }

  static func remove(_ enrollment: ShareAgentEnrollment, _ change: any NetworkChange) throws {
    try change.deleteServiceEdgeRouterPolicy(enrollment.routerPolicyId)
    try change.deleteServicePolicy(enrollment.dialPolicyId)
    try change.deleteServicePolicy(enrollment.bindPolicyId)
    try change.deleteService(enrollment.serviceId)
    try change.store.delete(ShareAgentEnrollment.self, enrollment.id)
  }

  /// Talks to the agent of an environment.
  /// - Throws: `ShareRefusal`: 401 for an environment of somebody else, 502 where no agent answers.
  func reachAgent<Value: Sendable>(
    _ accountID: String, environment id: String, _ body: (AgentCaller.Agent) async throws -> Value
  ) async throws -> Value {
    let enrollment = try await network.read { reader in
      _ = try reader.environment(id, of: accountID)
      return try reader.get(ShareAgentEnrollment.self, id)
    }
    guard let enrollment else {
      throw ShareRefusal(
        502, "the agent of environment \(id) is not enrolled; run on that machine: swiftlet share agent enroll")
    }
    return try await agents.reach(enrollment.token, account: accountID, body)
  }
}

extension AgentCaller.Agent {
  /// Whether it is of zrok's first generation, whose messages are others.
  func isFirstGeneration() async throws -> Bool {
    let version = try await call(AgentMethods.version, .init()).v
    return version.hasPrefix("v1.") || version.hasPrefix("v0.")
  }
}
