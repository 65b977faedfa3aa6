import Access
import Authentication
import JSON
import Model
import REST
import Store

extension Identity: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    var object = try view.base(self)
    object["_links"] = Rendering.links(identity: id, authPolicy: authPolicyId)
    object["serviceConfigs"] = nil
    object["type"] = Rendering.reference("identity-types", typeId.rawValue, typeId.rawValue)
    object["authPolicy"] = view.reference(.authPolicies, authPolicyId)
    for member in ["envInfo", "sdkInfo"] where object[member] == nil { object[member] = [:] }
    if object["externalId"] == nil { object["externalId"] = .null }
    if object["interfaces"] == nil { object["interfaces"] = [] }
    let now = view.core.now
    let disabling = disabling(at: now)
    object["disabled"] = .bool(isDisabled(at: now))
    object["disabledAt"] = JSONValue(disabling.at?.text)
    object["disabledUntil"] = JSONValue(disabling.until?.text)
    // OpenZiti has no member that says why an identity is disabled: these two are shown while the reason is a lock-out.
    if !isLockedOut(at: now) { for member in ["lockedAt", "lockedUntil"] { object[member] = nil } }
    let isConnected = view.core.routers.isConnected(identity: id)
    object["hasEdgeRouterConnection"] = .bool(isConnected)
    object["edgeRouterConnectionStatus"] = isConnected ? "online" : "offline"
    object["hasApiSession"] = .bool(!view.core.sessions.apiSessions(identity: id).isEmpty)
    object["isMfaEnabled"] = false
    var authenticators: JSONObject = [:]
    for authenticator in try view.reader.all(Authenticator.self, field: "identityId", equals: id) {
      authenticators[authenticator.method.rawValue] =
        switch authenticator.method {
        case .cert: ["id": .string(authenticator.id), "fingerprint": JSONValue(authenticator.fingerprint)]
        case .updb: ["id": .string(authenticator.id), "username": JSONValue(authenticator.username)]
        }
    }
    object["authenticators"] = .object(authenticators)
    var enrollments: JSONObject = [:]
    for enrollment in try view.reader.all(Enrollment.self, field: "identityId", equals: id) {
      var summary: JSONObject = [
        "id": .string(enrollment.id), "token": .string(enrollment.token), "jwt": .string(enrollment.jwt),
        "expiresAt": .string(enrollment.expiresAt.text),
      ]
      if let username = enrollment.username { summary["username"] = .string(username) }
      enrollments[enrollment.method.rawValue] = .object(summary)
    }
    object["enrollment"] = .object(enrollments)
    return object
  }
}

extension Enrollment: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    var object = try view.base(self)
    object["token"] = .string(token)
    object["jwt"] = .string(jwt)
    object["details"] = [:]
    if let identityId { object["identity"] = view.reference(.identities, identityId) }
    if let edgeRouterId { object["edgeRouter"] = view.reference(.edgeRouters, edgeRouterId) }
    return object
  }
}

extension Authenticator: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject { try detail(view.core) }

  func detail(_ core: ControllerCore) throws -> JSONObject {
    var object = try Rendering.base(self)
    for member in Self.declaration.hidden { object[member] = nil }
    object["identity"] = Rendering.reference(core.model { $0.identities[identityId] }, id: identityId)
    object["_links"] = Rendering.links(Self.kind.rawValue, id, ["identity": Rendering.link("identities/\(identityId)")])
    return object
  }
}

extension APISession: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    // Memory knows of later activity than the row on disk.
    var ended = self
    ended.token = ""
    let live = view.core.sessions.apiSession(id) ?? ended
    var object = Rendering.apiSession(live, view.core.model { $0.identities[identityId] }, now: view.core.now)
    object["expiresAt"] = nil
    object["expirationSeconds"] = nil
    return object
  }
}

extension ServiceSession: DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject {
    var object = try view.base(self)
    // The stored row has the token sealed; memory has it in clear.
    object["token"] = .string(view.core.sessions.serviceSession(id)?.token ?? "")
    object["service"] = view.reference(.services, serviceId)
    object["identity"] = view.reference(.identities, identityId)
    object["apiSession"] = Rendering.reference(.apiSessions, apiSessionId, nil)
    object["servicePolicies"] = .array(
      servicePolicies.filter { view.name(.servicePolicies, $0) != nil }.map { view.reference(.servicePolicies, $0) })
    let routers = view.core.model { state in
      state.access.commonRouters(identity: identityId, service: serviceId).compactMap { state.edgeRouters[$0] }
    }
    object["edgeRouters"] = .array(
      try routers.sorted { $0.name < $1.name }.map {
        .object(try Rendering.sessionRouter($0, view.core.routers[$0.id]))
      })
    return object
  }
}
