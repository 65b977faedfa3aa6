import JSON

/// The rows every network has from its first start (management spec 1.24). Ids are upstream's: exported configurations
/// and tools refer to them.
public enum BuiltIn {
  /// The policy of identities that name no other one: everything is allowed (client spec 3.7).
  public static func authPolicy(at now: Timestamp = .epoch) -> AuthPolicy {
    AuthPolicy(
      id: AuthPolicy.defaultID, name: "Default",
      primary: PrimaryAuthPolicy(
        cert: .init(allowed: true, allowExpiredCerts: true), extJwt: .init(allowed: true), updb: .init(allowed: true)),
      secondary: SecondaryAuthPolicy(), isSystem: true, createdAt: now, updatedAt: now)
  }

  /// Every kind of the network itself; applications have more.
  public static var kinds: [any DeclaredEntity.Type] {
    [
      Identity.self, EdgeService.self, Config.self, ConfigType.self, ServicePolicy.self, EdgeRouterPolicy.self,
      ServiceEdgeRouterPolicy.self, EdgeRouterEntity.self, Terminator.self, Enrollment.self, Authenticator.self,
      APISession.self, ServiceSession.self, APISessionCertificate.self, AuthPolicy.self, PublicKeyRecord.self,
      Revocation.self,
    ]
  }

  public static let identityTypes: [IdentityType] = IdentityType.allCases

  public static func configTypes(at now: Timestamp = .epoch) -> [ConfigType] {
    rows.map { row in
      ConfigType(
        id: row.id, name: row.name, schema: schema(row.schema), target: row.target, createdAt: now, updatedAt: now)
    }
  }

  private struct Row {
    var id: String
    var name: String
    var target = ConfigTarget.service
    var schema: String
  }

  private static let rows = [
    Row(
      id: "f2dd2df0-9c04-4b84-a91e-71437ac229f1", name: "ziti-tunneler-client.v1", schema: ConfigSchemas.tunnelerClient),
    Row(
      id: "cea49285-6c07-42cf-9f52-09a9b115c783", name: "ziti-tunneler-server.v1", schema: ConfigSchemas.tunnelerServer),
    Row(id: "g7cIWbcGg", name: "intercept.v1", schema: ConfigSchemas.intercept),
    Row(id: "NH5p4FpGR", name: "host.v1", schema: ConfigSchemas.hostV1),
    Row(id: "host.v2", name: "host.v2", schema: ConfigSchemas.hostV2),
    Row(id: "interfaces.v1", name: "interfaces.v1", schema: ConfigSchemas.interfaces),
    Row(id: "proxy.v1", name: "proxy.v1", schema: ConfigSchemas.proxy),
    Row(id: "router.link.v1", name: "router.link.v1", target: .router, schema: ConfigSchemas.routerLink),
  ]

  /// The texts are part of the program; a broken one is found by the first test that loads them.
  private static func schema(_ text: String) -> JSONObject {
    guard let value = try? JSONValue(parsing: text), let object = value.objectValue else {
      preconditionFailure("broken built-in schema: \(text)")
    }
    return object
  }
}
