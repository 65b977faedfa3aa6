import Access
import JSON
import Model
import REST
import Store

/// Why an identity can or cannot reach a service (management-and-model.md 2.6).
enum PolicyAdvice {
  static func render(_ core: ControllerCore, identity: String, service: String) throws -> JSONValue {
    try core.model { state in
      guard let who = state.identities[identity] else { throw StoreError.notFound(kind: .identities, id: identity) }
      guard let what = state.services[service], !what.isFabricOnly else {
        throw StoreError.notFound(kind: .services, id: service)
      }
      let actions = state.access.grants.actions(identity: identity, service: service)
      let common = state.access.commonRouters(identity: identity, service: service).compactMap { state.edgeRouters[$0] }
        .sorted { $0.name < $1.name }
      let routers: [JSONValue] = common.map { router in
        var object = Rendering.reference(.edgeRouters, router.id, router.name).objectValue ?? [:]
        object["isOnline"] = .bool(core.routers.isOnline(router.id))
        return .object(object)
      }
      return [
        "identityId": .string(identity), "identity": Rendering.reference(who, id: identity),
        "serviceId": .string(service),
        "service": Rendering.reference(.services, service, what.name), "isDialAllowed": .bool(actions.contains(.dial)),
        "isBindAllowed": .bool(actions.contains(.bind)),
        "identityRouterCount": JSONValue(state.access.routers(identity: identity).count),
        "serviceRouterCount": JSONValue(state.access.routers(service: service).count), "commonRouters": .array(routers),
        "reasons": [
          "Dial": JSONValue(state.access.explain(identity: identity, service: service, action: .dial)),
          "Bind": JSONValue(state.access.explain(identity: identity, service: service, action: .bind)),
        ],
      ]
    }
  }
}
