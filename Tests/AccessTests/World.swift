import Access
import Model

/// The entities of a small network, and every answer of the engine computed anew from them, in the plainest way.
struct World: Sendable {
  struct Right: Hashable {
    var identity: String
    var service: String
    var action: AccessAction
  }

  var identities: [String: Identity] = [:]
  var services: [String: EdgeService] = [:]
  var routers: [String: EdgeRouterEntity] = [:]
  var servicePolicies: [String: ServicePolicy] = [:]
  var routerPolicies: [String: EdgeRouterPolicy] = [:]
  var serviceRouterPolicies: [String: ServiceEdgeRouterPolicy] = [:]

  // MARK: answers

  private static func matches(_ roles: [String], _ semantic: Semantic, _ id: String, _ attributes: [String]) -> Bool {
    if roles == ["#all"] || roles.contains("@" + id) { return true }
    let wanted = roles.filter { $0.hasPrefix("#") }.map { String($0.dropFirst()) }
    if wanted.isEmpty { return false }
    return semantic == .anyOf
      ? wanted.contains { attributes.contains($0) } : wanted.allSatisfy { attributes.contains($0) }
  }

  func identities(matching roles: [String], _ semantic: Semantic) -> Set<String> {
    Set(identities.values.filter { Self.matches(roles, semantic, $0.id, $0.roleAttributes) }.map(\.id))
  }

  func services(matching roles: [String], _ semantic: Semantic) -> Set<String> {
    Set(
      services.values.filter { !$0.isFabricOnly && Self.matches(roles, semantic, $0.id, $0.roleAttributes) }.map(\.id))
  }

  func routers(matching roles: [String], _ semantic: Semantic) -> Set<String> {
    Set(routers.values.filter { Self.matches(roles, semantic, $0.id, $0.roleAttributes) }.map(\.id))
  }

  var rights: Set<Right> {
    servicePolicies.values.reduce(into: []) { rights, policy in
      for identity in identities(matching: policy.identityRoles, policy.semantic) {
        for service in services(matching: policy.serviceRoles, policy.semantic) {
          rights.insert(Right(identity: identity, service: service, action: AccessAction(policy.type)))
        }
      }
    }
  }

  func routers(identity: String) -> Set<String> {
    routerPolicies.values.reduce(into: []) { result, policy in
      guard identities(matching: policy.identityRoles, policy.semantic).contains(identity) else { return }
      result.formUnion(routers(matching: policy.edgeRouterRoles, policy.semantic))
    }
  }

  func routers(service: String) -> Set<String> {
    serviceRouterPolicies.values.reduce(into: []) { result, policy in
      guard services(matching: policy.serviceRoles, policy.semantic).contains(service) else { return }
      result.formUnion(routers(matching: policy.edgeRouterRoles, policy.semantic))
    }
  }

  // MARK: changes

  private static let attributes = ["a", "b", "c", "d"]

  private static func pick(_ prefix: String, _ count: Int, _ random: inout SeededGenerator) -> String {
    "\(prefix)\(Int.random(in: 0..<count, using: &random))"
  }

  private static func someAttributes(_ random: inout SeededGenerator) -> [String] {
    attributes.filter { _ in Bool.random(using: &random) }
  }

  private static func someRoles(_ prefix: String, _ count: Int, _ random: inout SeededGenerator) -> [String] {
    switch Int.random(in: 0..<6, using: &random) {
    case 0: return ["#all"]
    case 1: return []
    case 2: return ["@" + pick(prefix, count, &random), "@" + pick(prefix, count, &random)]
    case 3: return ["@" + pick(prefix, count, &random), "#" + (attributes.randomElement(using: &random) ?? "a")]
    default: return someAttributes(&random).prefix(2).map { "#" + $0 }
    }
  }

  /// Creates, changes or deletes one entity at random and says so as the engine is told.
  mutating func change(_ random: inout SeededGenerator) -> EntityChange {
    let isDeletion = Int.random(in: 0..<4, using: &random) == 0
    let semantic: Semantic = Bool.random(using: &random) ? .anyOf : .allOf
    switch Int.random(in: 0..<8, using: &random) {
    case 0, 1:
      let id = Self.pick("i", 6, &random)
      let old = identities[id]
      identities[id] = isDeletion ? nil : Identity(id: id, name: id, roleAttributes: Self.someAttributes(&random))
      return .identity(old: old, new: identities[id])
    case 2, 3:
      let id = Self.pick("s", 6, &random)
      let old = services[id]
      let isFabricOnly = Int.random(in: 0..<5, using: &random) == 0
      services[id] =
        isDeletion
        ? nil : EdgeService(id: id, name: id, roleAttributes: Self.someAttributes(&random), isFabricOnly: isFabricOnly)
      return .service(old: old, new: services[id])
    case 4:
      let id = Self.pick("r", 4, &random)
      let old = routers[id]
      routers[id] = isDeletion ? nil : EdgeRouterEntity(id: id, name: id, roleAttributes: Self.someAttributes(&random))
      return .edgeRouter(old: old, new: routers[id])
    case 5:
      let id = Self.pick("p", 6, &random)
      let old = servicePolicies[id]
      servicePolicies[id] =
        isDeletion
        ? nil
        : ServicePolicy(
          id: id, name: id, type: Bool.random(using: &random) ? .dial : .bind, semantic: semantic,
          identityRoles: Self.someRoles("i", 6, &random),
          serviceRoles: Self.someRoles("s", 6, &random),
          postureCheckRoles: Bool.random(using: &random) ? ["@check"] : [])
      return .servicePolicy(old: old, new: servicePolicies[id])
    case 6:
      let id = Self.pick("e", 4, &random)
      let old = routerPolicies[id]
      routerPolicies[id] =
        isDeletion
        ? nil
        : EdgeRouterPolicy(
          id: id, name: id, semantic: semantic, edgeRouterRoles: Self.someRoles("r", 4, &random),
          identityRoles: Self.someRoles("i", 6, &random))
      return .edgeRouterPolicy(old: old, new: routerPolicies[id])
    default:
      let id = Self.pick("q", 4, &random)
      let old = serviceRouterPolicies[id]
      serviceRouterPolicies[id] =
        isDeletion
        ? nil
        : ServiceEdgeRouterPolicy(
          id: id, name: id, semantic: semantic, edgeRouterRoles: Self.someRoles("r", 4, &random),
          serviceRoles: Self.someRoles("s", 6, &random))
      return .serviceEdgeRouterPolicy(old: old, new: serviceRouterPolicies[id])
    }
  }
}
