import Access
import JSON
import Model
import REST
import Store

/// An entity that the management API shows: its document, and the members that are computed for whoever looks.
protocol DetailedEntity: DeclaredEntity {
  func detail(_ view: DetailView) throws -> JSONObject
}

extension DetailedEntity {
  func detail(_ view: DetailView) throws -> JSONObject { try view.base(self) }
}

/// What details are computed from: the running controller, one consistent state of the store, and who looks at it.
struct DetailView {
  let core: ControllerCore
  let reader: StoreReader
  let caller: Caller
  /// Config types (ids or names) whose data services show; `all` for every one.
  var configTypes: Set<String> = []

  /// What the declaration says: the stored document with links to itself and to its relations, references to what it
  /// names, and role lists as people read them.
  func base<E: DeclaredEntity>(_ entity: E) throws -> JSONObject {
    var object = try Rendering.base(entity)
    for member in E.declaration.hidden { object[member] = nil }
    for member in E.declaration.members {
      switch member.meaning {
      case .plain: break
      case .reference(let kind, let path):
        if let name = member.referenceName { object[name] = reference(kind, entity[keyPath: path]) }
      case .roles(let kind, let path): object[member.name + "Display"] = display(entity[keyPath: path], kind)
      }
    }
    return object
  }

  func name(_ kind: EntityKind, _ id: String) -> String? {
    core.model { state in
      switch kind {
      case .identities: state.identities[id]?.name
      case .services: state.services[id]?.name
      case .edgeRouters: state.edgeRouters[id]?.name
      case .configTypes: state.configTypes[id]?.name
      case .authPolicies: state.authPolicies[id]?.name
      case .servicePolicies: state.servicePolicies[id]?.name
      default: nil
      }
    }
  }

  func reference(_ kind: EntityKind, _ id: String) -> JSONValue {
    if kind == .identities { return Rendering.reference(core.model { $0.identities[id] }, id: id) }
    return Rendering.reference(kind, id, name(kind, id) ?? id)
  }

  /// Role lists as people read them: `@id` as `@name`.
  func display(_ roles: [String], _ kind: EntityKind) -> JSONValue {
    .array(
      roles.map { role in
        var shown = role
        if role.hasPrefix("@"), let name = name(kind, String(role.dropFirst())) { shown = "@" + name }
        return ["role": .string(role), "name": .string(shown)]
      })
  }
}
