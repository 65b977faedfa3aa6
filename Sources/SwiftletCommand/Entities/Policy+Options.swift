import ArgumentParser
import Foundation
import JSON
import Model

/// The three kinds of policy differ in which roles they relate; `create` demands a semantic, `AnyOf` unless said
/// otherwise.
struct NewServicePolicy: NewEntity {
  static let kind = EntityDescription.servicePolicy
  static let examples = """
    swiftlet create service-policy staff-dial Dial --service-roles '#intranet' --identity-roles '#staff'
    swiftlet create service-policy web-bind Bind --service-roles @web --identity-roles @web-server
    """

  @Argument(help: "Its name.")
  var name: String

  @Argument(help: "What it grants: Dial or Bind.")
  var type: String

  @OptionGroup var fields: ServicePolicyFields

  @Option(help: ArgumentHelp("How several attributes combine: AnyOf or AllOf.", valueName: "semantic"))
  var semantic = "AnyOf"

  var title: String { name }
  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name), "type": .string(type.capitalized), "semantic": .string(semantic)]
    try await fields.fill(&body, names)
    return body
  }
}

struct ServicePolicyChange: UpdateOptions {
  static let kind = EntityDescription.servicePolicy
  static let examples = """
    swiftlet update service-policy staff-dial --identity-roles '#staff,@bob'
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @OptionGroup var fields: ServicePolicyFields

  @Option(help: ArgumentHelp("AnyOf or AllOf.", valueName: "semantic"))
  var semantic: String?

  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    body.set("semantic", semantic)
    try await fields.fill(&body, names)
    return body
  }
}

struct ServicePolicyFields: ParsableArguments {
  @Option(help: ArgumentHelp("Services: #attribute, @name or #all.", valueName: "roles"))
  var serviceRoles: [CommaList] = []

  @Option(help: ArgumentHelp("Identities: #attribute, @name or #all.", valueName: "roles"))
  var identityRoles: [CommaList] = []

  @OptionGroup var tagging: TagOptions

  func fill(_ body: inout JSONObject, _ names: NameResolver) async throws {
    if !serviceRoles.isEmpty { body["serviceRoles"] = try await names.roles(serviceRoles, of: .service) }
    if !identityRoles.isEmpty { body["identityRoles"] = try await names.roles(identityRoles, of: .identity) }
  }
}

struct NewEdgeRouterPolicy: NewEntity {
  static let kind = EntityDescription.edgeRouterPolicy
  static let examples = """
    swiftlet create edge-router-policy everyone --edge-router-roles '#public' --identity-roles '#all'
    """

  @Argument(help: "Its name.")
  var name: String

  @OptionGroup var fields: EdgeRouterPolicyFields

  @Option(help: ArgumentHelp("How several attributes combine: AnyOf or AllOf.", valueName: "semantic"))
  var semantic = "AnyOf"

  var title: String { name }
  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name), "semantic": .string(semantic)]
    try await fields.fill(&body, names)
    return body
  }
}

struct EdgeRouterPolicyChange: UpdateOptions {
  static let kind = EntityDescription.edgeRouterPolicy
  static let examples = """
    swiftlet update edge-router-policy everyone --identity-roles '#staff'
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @OptionGroup var fields: EdgeRouterPolicyFields

  @Option(help: ArgumentHelp("AnyOf or AllOf.", valueName: "semantic"))
  var semantic: String?

  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    body.set("semantic", semantic)
    try await fields.fill(&body, names)
    return body
  }
}

struct EdgeRouterPolicyFields: ParsableArguments {
  @Option(help: ArgumentHelp("Edge routers: #attribute, @name or #all.", valueName: "roles"))
  var edgeRouterRoles: [CommaList] = []

  @Option(help: ArgumentHelp("Identities: #attribute, @name or #all.", valueName: "roles"))
  var identityRoles: [CommaList] = []

  @OptionGroup var tagging: TagOptions

  func fill(_ body: inout JSONObject, _ names: NameResolver) async throws {
    if !edgeRouterRoles.isEmpty { body["edgeRouterRoles"] = try await names.roles(edgeRouterRoles, of: .edgeRouter) }
    if !identityRoles.isEmpty { body["identityRoles"] = try await names.roles(identityRoles, of: .identity) }
  }
}

struct NewServiceEdgeRouterPolicy: NewEntity {
  static let kind = EntityDescription.serviceEdgeRouterPolicy
  static let examples = """
    swiftlet create service-edge-router-policy everywhere --edge-router-roles '#all' --service-roles '#all'
    """

  @Argument(help: "Its name.")
  var name: String

  @OptionGroup var fields: ServiceEdgeRouterPolicyFields

  @Option(help: ArgumentHelp("How several attributes combine: AnyOf or AllOf.", valueName: "semantic"))
  var semantic = "AnyOf"

  var title: String { name }
  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = ["name": .string(name), "semantic": .string(semantic)]
    try await fields.fill(&body, names)
    return body
  }
}

struct ServiceEdgeRouterPolicyChange: UpdateOptions {
  static let kind = EntityDescription.serviceEdgeRouterPolicy
  static let examples = """
    swiftlet update service-edge-router-policy everywhere --edge-router-roles '#public'
    """

  @Option(name: [.customShort("n"), .customLong("name")], help: ArgumentHelp("New name.", valueName: "name"))
  var newName: String?

  @OptionGroup var fields: ServiceEdgeRouterPolicyFields

  @Option(help: ArgumentHelp("AnyOf or AllOf.", valueName: "semantic"))
  var semantic: String?

  var tagging: TagOptions { fields.tagging }

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("name", newName)
    body.set("semantic", semantic)
    try await fields.fill(&body, names)
    return body
  }
}

struct ServiceEdgeRouterPolicyFields: ParsableArguments {
  @Option(help: ArgumentHelp("Edge routers: #attribute, @name or #all.", valueName: "roles"))
  var edgeRouterRoles: [CommaList] = []

  @Option(help: ArgumentHelp("Services: #attribute, @name or #all.", valueName: "roles"))
  var serviceRoles: [CommaList] = []

  @OptionGroup var tagging: TagOptions

  func fill(_ body: inout JSONObject, _ names: NameResolver) async throws {
    if !edgeRouterRoles.isEmpty { body["edgeRouterRoles"] = try await names.roles(edgeRouterRoles, of: .edgeRouter) }
    if !serviceRoles.isEmpty { body["serviceRoles"] = try await names.roles(serviceRoles, of: .service) }
  }
}
