import JSON
import Model

/// JSON shapes that all APIs share (edge-client-api.md 1.5).
enum Rendering {
  /// A stored entity without its secrets, with its link. Kinds add their computed members to it.
  static func base<E: Entity>(_ entity: E) throws -> JSONObject {
    var object = try JSONValue(encoding: entity).objectValue ?? [:]
    for secret in E.secretMembers { object[secret] = nil }
    object["_links"] = links(E.kind.rawValue, entity.id)
    return object
  }

  /// What hangs on one entity of a kind, by the names of the relations (management-and-model.md 4.3).
  private static let relations: [String: [String]] = [
    EntityKind.identities.rawValue: [
      "authenticators", "edge-router-policies", "edge-routers", "enrollments", "failed-service-requests",
      "posture-data", "service-configs",
      "service-policies", "services",
    ],
    EntityKind.services.rawValue: ["configs", "service-edge-router-policies", "service-policies", "terminators"],
    EntityKind.servicePolicies.rawValue: ["identities", "posture-checks", "services"],
    EntityKind.edgeRouterPolicies.rawValue: ["edge-routers", "identities"],
    EntityKind.serviceEdgeRouterPolicies.rawValue: ["edge-routers", "services"],
    EntityKind.edgeRouters.rawValue: ["edge-router-policies"],
    EntityKind.apiSessions.rawValue: ["sessions"],
    EntityKind.sessions.rawValue: ["route-path"],
  ]

  /// Links of an entity to itself and to its relations; `more` are those that its kind alone does not tell.
  static func links(_ collection: String, _ id: String, _ more: JSONObject = [:]) -> JSONValue {
    var links = more
    links["self"] = link("\(collection)/\(id)")
    for relation in relations[collection] ?? [] { links[relation] = link("\(collection)/\(id)/\(relation)") }
    return .object(links)
  }

  static func link(_ path: String) -> JSONValue { ["href": .string("./\(path)")] }

  /// The policy by which an identity proves itself hangs on it too.
  static func links(identity id: String, authPolicy: String) -> JSONValue {
    links(EntityKind.identities.rawValue, id, ["auth-policies": link("auth-policies/\(authPolicy)")])
  }

  /// A reference to another entity.
  static func reference(_ collection: String, _ id: String, _ name: String? = nil) -> JSONValue {
    var object: JSONObject = ["entity": .string(collection), "id": .string(id), "_links": links(collection, id)]
    if let name { object["name"] = .string(name) }
    return .object(object)
  }

  /// A reference to an identity, nil where there is none of that id any more.
  static func reference(_ identity: Identity?, id: String) -> JSONValue {
    guard let identity else { return reference(.identities, id, id) }
    return [
      "entity": .string(EntityKind.identities.rawValue), "id": .string(id), "name": .string(identity.name),
      "_links": links(identity: id, authPolicy: identity.authPolicyId),
    ]
  }

  static func reference(_ kind: EntityKind, _ id: String, _ name: String?) -> JSONValue {
    reference(kind.rawValue, id, name)
  }

  /// What SDKs learn of an edge router (edge-client-api.md 5.3).
  static func routerCommon(_ router: EdgeRouterEntity, _ status: RouterDirectory.Status) throws -> JSONObject {
    [
      "name": .string(router.name), "hostname": .string(status.hostname.isEmpty ? router.hostname : status.hostname),
      "isOnline": .bool(status.isOnline),
      "disabled": .bool(router.disabled), "cost": JSONValue(router.cost), "noTraversal": .bool(router.noTraversal),
      "syncStatus": .string(status.syncStatus),
      "supportedProtocols": .object(status.protocols.mapValues(JSONValue.string)), "appData": .object(router.appData),
      "version": JSONValue(status.version?.version),
    ]
  }

  /// A router as sessions for services name it.
  static func sessionRouter(_ router: EdgeRouterEntity, _ status: RouterDirectory.Status) throws -> JSONObject {
    var object = try routerCommon(router, status)
    // C SDK 0.29 falls back to this name.
    object["urls"] = object["supportedProtocols"]
    return object
  }

  static func apiSession(_ session: APISession, _ identity: Identity?, now: Timestamp) -> JSONObject {
    [
      "id": .string(session.id), "createdAt": .string(session.createdAt.text),
      "updatedAt": .string(session.lastActivityAt.text),
      "_links": links(EntityKind.apiSessions.rawValue, session.id), "tags": [:], "token": .string(session.token),
      "identityId": .string(session.identityId),
      "identity": reference(identity, id: session.identityId), "ipAddress": .string(session.ipAddress),
      "configTypes": JSONValue(session.configTypes),
      "authQueries": [], "isMfaRequired": .bool(session.isMfaRequired), "isMfaComplete": .bool(session.isMfaComplete),
      "lastActivityAt": .string(session.lastActivityAt.text),
      "cachedLastActivityAt": .string(session.lastActivityAt.text),
      "authenticatorId": .string(session.authenticatorId), "isCertExtendable": .bool(session.isCertExtendable),
      "isCertExtendRequested": .bool(session.isCertExtendRequested),
      "isCertKeyRollRequested": .bool(session.isCertKeyRollRequested),
      "improperClientCertChain": .bool(session.improperClientCertChain), "expiresAt": .string(session.endsAt.text),
      "expirationSeconds": JSONValue(Int(max(0, session.endsAt.milliseconds(since: now) / 1000))),
    ]
  }
}
