import Fabric
import JSON
import Model
import REST
import Store

/// Terminators over REST: those that operators made, which are stored, and the leases of live hosts, which exist in
/// memory only.
enum TerminatorResource {
  static func endpoints(_ core: ControllerCore) -> [Endpoint] {
    let resource = Resource<Terminator>(core: core)
    return [
      Endpoint("GET", "/terminators", access: .admin, "List terminators") { request, caller in
        try await list(core, request, caller)
      },
      Endpoint("GET", "/terminators/{id}", access: .admin, "Show a terminator") { request, caller in
        let id = request.parameter("id")
        return .data(
          .object(
            try await core.store.read { reader in
              let lease = core.fabric.terminator(id).flatMap { $0.isLease ? Terminator(lease: $0) : nil }
              guard let terminator = try lease ?? reader.get(Terminator.self, id) else {
                throw StoreError.notFound(kind: .terminators, id: id)
              }
              return try terminator.detail(DetailView(core: core, reader: reader, caller: caller))
            }))
      },
      resource.creating(Terminator.declaration.creationShape) { operations, body in
        try await operations.create(Terminator.self, body).id
      },
    ]
      + resource.updating(Terminator.declaration.shape) { operations, id, body, partial in
        // Cost and precedence of a lease are its host's to change.
        if core.fabric.terminator(id)?.isLease ?? false {
          throw OperationError.cannotBeUpdated(kind: .terminators, id: id, reason: "a live host owns it")
        }
        try await operations.update(Terminator.self, id, body, partial: partial)
      } + [
        resource.deleting { operations, id in
          if core.fabric.terminator(id)?.isLease ?? false {
            try ChangeDeadline.current?.begin()
            core.fabric.handle(.displace(terminator: id))
            return
          }
          try await operations.delete(Terminator.self, id)
        }
      ]
  }

  /// Of one service.
  static func ofService(_ core: ControllerCore) -> Endpoint {
    Endpoint("GET", "/services/{id}/terminators", access: .admin, "List terminators of a service") { request, caller in
      let id = request.parameter("id")
      guard core.model({ $0.services[id] }) != nil else { throw StoreError.notFound(kind: .services, id: id) }
      return try await list(core, request, caller, of: [id])
    }
  }

  /// - Parameter services: nil for all.
  private static func all(_ core: ControllerCore, _ reader: StoreReader, of services: Set<String>?) throws
    -> [Terminator]
  {
    guard let services else {
      return try reader.all(Terminator.self) + core.liveTerminators.filter(\.isLease).map { Terminator(lease: $0) }
    }
    return try services.flatMap { service in
      try reader.all(Terminator.self, field: "serviceId", equals: service)
        + core.fabric.terminators(ofService: service).filter(\.isLease).map { Terminator(lease: $0) }
    }
  }

  private static func list(
    _ core: ControllerCore, _ request: APIRequest, _ caller: Caller, of services: Set<String>? = nil
  ) async throws -> APIResponse {
    let query = try ListQuery(request)
    let symbols = SymbolTable.of(.terminators)
    try query.checkSort(symbols.checkOrder)
    let services = services ?? query.filter?.predicate?.texts(of: "service")
    // Each of them is looked at, and they may be many.
    let page = try await core.store.search(for: caller.identityID) { reader in
      try (query.filter ?? .all).apply(to: try all(core, reader, of: services), symbols: symbols, page: query.page) {
        value(of: $1, $0, core)
      }
    }
    return try await .list(page, core, caller, filterable: symbols.filterable) { terminators in
      try await core.store.read { reader -> [JSONValue] in
        let view = DetailView(core: core, reader: reader, caller: caller)
        return try terminators.map { JSONValue.object(try $0.detail(view)) }
      }
    }
  }

  /// Ids of the terminators that meet a condition, those of live hosts among them.
  static func ids(_ core: ControllerCore, _ reader: StoreReader, matching condition: Filter) throws -> Set<String> {
    let query = FilterQuery(predicate: condition, limit: FilterLimit.none)
    let all = try all(core, reader, of: condition.texts(of: "service"))
    let found = try query.apply(to: all, symbols: SymbolTable.of(.terminators)) { value(of: $1, $0, core) }
    return Set(found.items.map(\.id))
  }

  /// The symbols of `SymbolTable.of(.terminators)`.
  private static func value(of name: String, _ terminator: Terminator, _ core: ControllerCore) -> FilterValue {
    switch name {
    case "id": .string(terminator.id)
    case "binding": .string(terminator.binding)
    case "address": .string(terminator.address)
    case "instanceId": .string(terminator.identity)
    case "hostId": .string(terminator.hostId)
    case "sourceCtrl": .string(terminator.sourceCtrl)
    case "service": .string(terminator.serviceId)
    case "router": .string(terminator.routerId)
    case "service.name": .string(core.model { $0.services[terminator.serviceId]?.name })
    case "router.name": .string(core.model { $0.edgeRouters[terminator.routerId]?.name })
    case "cost": .scalar(.int(Int64(terminator.cost)))
    case "precedence": .string(terminator.precedence.rawValue)
    case "isSystem": .scalar(.bool(terminator.isSystem))
    case "createdAt": .scalar(.datetime(terminator.createdAt))
    case "updatedAt": .scalar(.datetime(terminator.updatedAt))
    default: .scalar(name.hasPrefix("tags.") ? tag(name.dropFirst(5), terminator) : .null)
    }
  }

  /// A tag, or a member of one that is an object.
  private static func tag(_ path: Substring, _ terminator: Terminator) -> FilterLiteral {
    let value = path.split(separator: ".", omittingEmptySubsequences: false).reduce(JSONValue.object(terminator.tags)) {
      $0[String($1)] ?? .null
    }
    return FilterLiteral(value) ?? .null
  }
}
