import JSON
import Model

/// The table behind list, show, delete, create and update. Columns as operators know them (management-and-model.md
/// 5.5).
extension EntityDescription {
  static let identity = EntityDescription(
    "identity", "identities",
    related: ["services", "service-policies", "edge-routers", "edge-router-policies", "authenticators", "enrollments"],
    columns: [
      .id, .name, .member("Type", "typeId"), .member("Attributes", "roleAttributes"),
      .member("Auth-Policy", "authPolicy.name"),
    ])

  static let service = EntityDescription(
    "service", "services",
    related: [
      "configs", "service-policies", "service-edge-router-policies", "terminators", "identities", "edge-routers",
    ],
    columns: [
      .id, .name, .member("Encryption Required", "encryptionRequired"),
      .member("Terminator Strategy", "terminatorStrategy"),
      .member("Attributes", "roleAttributes"),
    ])

  static let config = EntityDescription(
    "config", "configs", related: ["services"], columns: [.id, .name, .member("Config Type", "configType.name")])

  static let configType = EntityDescription(
    "config-type", "config-types", related: ["configs"], columns: [.id, .name, .member("Target", "target")])

  static let servicePolicy = EntityDescription(
    "service-policy", "service-policies", aliases: ["sp", "sps"], related: ["services", "identities"],
    columns: [
      .id, .name, .member("Type", "type"), .member("Semantic", "semantic"), .roles("Service Roles", "serviceRoles"),
      .roles("Identity Roles", "identityRoles"), .roles("Posture Check Roles", "postureCheckRoles"),
    ])

  static let edgeRouterPolicy = EntityDescription(
    "edge-router-policy", "edge-router-policies", aliases: ["erp", "erps"], related: ["edge-routers", "identities"],
    columns: [.id, .name, .roles("Edge Router Roles", "edgeRouterRoles"), .roles("Identity Roles", "identityRoles")])

  static let serviceEdgeRouterPolicy = EntityDescription(
    "service-edge-router-policy", "service-edge-router-policies", aliases: ["serp", "serps"],
    related: ["services", "edge-routers"],
    columns: [.id, .name, .roles("Service Roles", "serviceRoles"), .roles("Edge Router Roles", "edgeRouterRoles")])

  static let edgeRouter = EntityDescription(
    "edge-router", "edge-routers", aliases: ["er", "ers"],
    related: ["edge-router-policies", "service-edge-router-policies", "identities", "services"],
    columns: [
      .id, .name, .member("Online", "isOnline"),
      Column("Allow Transit") { document in
        document["noTraversal"]?.boolValue.map { "\(!$0)" } ?? ""
      },
      .member("Cost", "cost", .right), .member("Attributes", "roleAttributes"),
    ])

  static let terminator = EntityDescription(
    "terminator", "terminators", hasName: false,
    columns: [
      .id, .member("Service", "service.name"), .member("Router", "router.name"), .member("Binding", "binding"),
      .member("Address", "address"),
      .member("Identity", "identity"), .member("Cost", "cost", .right), .member("Precedence", "precedence"),
      .member("Dynamic Cost", "dynamicCost", .right),
    ])

  static let enrollment = EntityDescription(
    "enrollment", "enrollments", hasName: false,
    columns: [
      .id, .member("Method", "method"), .member("Identity Id", "identityId"), .member("Identity Name", "identity.name"),
      .member("Expires At", "expiresAt"), .member("Token", "token"),
      Column("JWT") { document in
        (document["jwt"]?.stringValue ?? "").isEmpty ? "" : "See json"
      },
    ])

  static let authenticator = EntityDescription(
    "authenticator", "authenticators", hasName: false,
    columns: [
      .id, .member("Method", "method"), .member("Identity Id", "identityId"), .member("Identity Name", "identity.name"),
      Column("Uname/Print") { document in
        document["username"]?.stringValue ?? document["fingerprint"]?.stringValue ?? ""
      },
    ])

  static let session = EntityDescription(
    "session", "sessions", hasName: false,
    columns: [
      .id, .member("API Session ID", "apiSession.id"), .member("Service Name", "service.name"), .member("Type", "type"),
    ])

  static let apiSession = EntityDescription(
    "api-session", "api-sessions", hasName: false,
    columns: [
      .id, .member("Identity Name", "identity.name"), .member("Address", "ipAddress"),
      .member("Last Activity", "lastActivityAt"),
      .member("Auth Id", "authenticatorId"),
    ])

  static let catalogue = [
    identity, service, config, configType, servicePolicy, edgeRouterPolicy, serviceEdgeRouterPolicy, edgeRouter,
    terminator, enrollment,
    authenticator,
    session, apiSession,
  ]
}
