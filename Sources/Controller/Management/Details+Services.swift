import Access
import Fabric
import JSON
import Model
import REST
import Store

extension EdgeService: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    var object = try view.base(self)
    let actions = view.core.model { $0.access.grants.actions(identity: view.caller.identityID, service: id) }
    object["permissions"] =
      actions.isEmpty ? ["Invalid"] : JSONValue(AccessAction.allCases.filter(actions.contains).map(\.rawValue))
    object["postureQueries"] = .array(AccessAction.allCases.flatMap { postureSets(view, $0) })
    object["config"] = .object(config(view))
    return object
  }

  /// One set for each policy that grants the action; SDKs notice gained and lost rights by their ids
  /// (edge-client-api.md 5.6).
  private func postureSets(_ view: DetailView, _ action: AccessAction) -> [JSONValue] {
    view.core.model { $0.access.grants.policies(identity: view.caller.identityID, service: id, action: action) }
      .sorted().map { policy in
        ["policyId": .string(policy), "policyType": .string(action.rawValue), "isPassing": true, "postureQueries": []]
      }
  }

  /// Data of the wanted config types by name, with the overrides of who looks.
  private func config(_ view: DetailView) -> JSONObject {
    guard !view.configTypes.isEmpty else { return [:] }
    return view.core.model { state in
      let overrides = state.identities[view.caller.identityID]?.serviceConfigs[id] ?? [:]
      var result: JSONObject = [:]
      for config in (configs + overrides.values).compactMap({ state.configs[$0] }) {
        guard let type = state.configTypes[config.configTypeId] else { continue }
        guard
          view.configTypes.contains("all") || view.configTypes.contains(type.id) || view.configTypes.contains(type.name)
        else { continue }
        result[type.name] = .object(config.data)
      }
      return result
    }
  }
}

extension ConfigType: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    var object = try view.base(self)
    if object["schema"] == nil { object["schema"] = [:] }
    return object
  }
}

extension EdgeRouterEntity: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    let status = view.core.routers[id]
    var object = try view.base(self)
    object.merge(try Rendering.routerCommon(self, status)) { $1 }
    object["version"] = nil
    // An object in any case: of a router that never connected, an empty one.
    var version = try status.version.map { try JSONValue(encoding: $0) }?.objectValue ?? [:]
    for member in ["arch", "buildDate", "os", "revision", "version"] where version[member] == nil {
      version[member] = ""
    }
    object["versionInfo"] = .object(version)
    object["isTunnelerEnabled"] = .bool(isTunnelerEnabled)
    for member in ["certPem", "unverifiedFingerprint", "unverifiedCertPem"] where object[member] == nil {
      object[member] = .null
    }
    if object["interfaces"] == nil { object["interfaces"] = [] }
    let enrollment = isVerified ? nil : try view.reader.first(Enrollment.self, field: "edgeRouterId", equals: id)
    object["enrollmentToken"] = JSONValue(enrollment?.token)
    object["enrollmentJwt"] = JSONValue(enrollment?.jwt)
    object["enrollmentCreatedAt"] = JSONValue(enrollment?.issuedAt?.text)
    object["enrollmentExpiresAt"] = JSONValue(enrollment?.expiresAt.text)
    return object
  }
}

extension Terminator: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    var object = try view.base(self)
    object["dynamicCost"] = JSONValue(view.core.fabric.dynamicCost(id))
    return object
  }
}

extension Terminator {
  /// A lease of a live host, shown like one that was made over REST.
  init(lease: LiveTerminator) {
    self.init(
      id: lease.id, serviceId: lease.serviceID, routerId: lease.routerID, binding: lease.binding,
      address: lease.address, identity: lease.instance,
      cost: lease.cost, precedence: lease.precedence, hostId: lease.hostID, createdAt: lease.createdAt,
      updatedAt: lease.createdAt)
  }
}
