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

  static func links(_ collection: String, _ id: String) -> JSONValue { ["self": ["href": .string("./\(collection)/\(id)")]] }

  /// A reference to another entity.
  static func reference(_ collection: String, _ id: String, _ name: String? = nil) -> JSONValue {
    var object: JSONObject = ["entity": .string(collection), "id": .string(id), "_links": links(collection, id)]
    if let name { object["name"] = .string(name) }
    return .object(object)
  }

  static func reference(_ kind: EntityKind, _ id: String, _ name: String?) -> JSONValue { reference(kind.rawValue, id, name) }

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

  static func apiSession(_ session: APISession, identityName: String, now: Timestamp) -> JSONObject {
    [
      "id": .string(session.id), "createdAt": .string(session.createdAt.text), "updatedAt": .string(session.lastActivityAt.text),
      "_links": ["self": ["href": "./current-api-session"]], "tags": [:], "token": .string(session.token), "identityId": .string(session.identityId),
      "identity": reference(.identities, session.identityId, identityName), "ipAddress": .string(session.ipAddress),
      "configTypes": JSONValue(session.configTypes),
      "authQueries": [], "isMfaRequired": .bool(session.isMfaRequired), "isMfaComplete": .bool(session.isMfaComplete),
      "lastActivityAt": .string(session.lastActivityAt.text), "cachedLastActivityAt": .string(session.lastActivityAt.text),
      "authenticatorId": .string(session.authenticatorId), "isCertExtendable": .bool(session.isCertExtendable),
      "isCertExtendRequested": .bool(session.isCertExtendRequested), "isCertKeyRollRequested": .bool(session.isCertKeyRollRequested),
      "improperClientCertChain": .bool(session.improperClientCertChain), "expiresAt": .string(session.endsAt.text),
      "expirationSeconds": JSONValue(Int(max(0, session.endsAt.milliseconds(since: now) / 1000))),
    ]
  }
}
