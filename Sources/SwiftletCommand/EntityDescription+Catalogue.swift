import JSON
import Model

/// The table behind list, show, delete, create and update: what the kinds declare, and the columns that no member of
/// them has, as operators know them (management-and-model.md 5.5).
extension EntityDescription {
  static let identity = EntityDescription(Identity.self)
  static let service = EntityDescription(EdgeService.self)
  static let config = EntityDescription(Config.self)
  static let configType = EntityDescription(ConfigType.self)
  static let servicePolicy = EntityDescription(ServicePolicy.self)
  static let edgeRouterPolicy = EntityDescription(EdgeRouterPolicy.self)
  static let serviceEdgeRouterPolicy = EntityDescription(ServiceEdgeRouterPolicy.self)

  static let edgeRouter = EntityDescription(
    EdgeRouterEntity.self,
    columns: [
      .id, .name, .member("Online", "isOnline"),
      Column("Allow Transit") { document in
        document["noTraversal"]?.boolValue.map { "\(!$0)" } ?? ""
      },
      .member("Cost", "cost", .right), .member("Attributes", "roleAttributes"),
    ])

  static let terminator = EntityDescription(Terminator.self, more: [.member("Dynamic Cost", "dynamicCost", .right)])

  static let enrollment = EntityDescription(
    Enrollment.self,
    columns: [
      .id, .member("Method", "method"), .member("Identity Id", "identityId"), .member("Identity Name", "identity.name"),
      .member("Expires At", "expiresAt"), .member("Token", "token"),
      Column("JWT") { document in
        (document["jwt"]?.stringValue ?? "").isEmpty ? "" : "See json"
      },
    ])

  static let authenticator = EntityDescription(
    Authenticator.self,
    columns: [
      .id, .member("Method", "method"), .member("Identity Id", "identityId"), .member("Identity Name", "identity.name"),
      Column("Uname/Print") { document in
        document["username"]?.stringValue ?? document["fingerprint"]?.stringValue ?? ""
      },
    ])

  static let session = EntityDescription(
    ServiceSession.self,
    columns: [
      .id, .member("API Session ID", "apiSession.id"), .member("Service Name", "service.name"), .member("Type", "type"),
    ])

  static let apiSession = EntityDescription(
    APISession.self,
    columns: [
      .id, .member("Identity Name", "identity.name"), .member("Address", "ipAddress"),
      .member("Last Activity", "lastActivityAt"), .member("Auth Id", "authenticatorId"),
    ])

  static let catalogue = [
    identity, service, config, configType, servicePolicy, edgeRouterPolicy, serviceEdgeRouterPolicy, edgeRouter,
    terminator, enrollment,
    authenticator,
    session, apiSession,
  ]
}
