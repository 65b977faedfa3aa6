import Authentication
import Fabric
import JSON
import Model
import REST
import Store

/// The management API as a table: every kind of entity is a `Resource`, and what goes beyond the usual verbs stands
/// beside it (management-and-model.md 4.6). Everything here is for administrators.
enum ManagementAPI {
  /// - Parameter kinds: those of an application, which do nothing beyond the usual verbs.
  static func endpoints(core: ControllerCore, kinds: [any ManagedEntity.Type] = []) -> [Endpoint] {
    let own =
      identities(core) + services(core) + configs(core) + policies(core) + edgeRouters(core) + credentials(core)
      + sessions(core) + overview(core)
    return own + kinds.flatMap { managing($0, core) }
  }

  private static func managing<E: ManagedEntity>(_ type: E.Type, _ core: ControllerCore) -> [Endpoint] {
    Resource<E>(core: core).managing()
  }

  private static func identities(_ core: ControllerCore) -> [Endpoint] {
    let identities = Resource<Identity>(core: core)
    return identities.reading() + [
      identities.creating(
        Identity.declaration.creationShape.adding(["enrollment": ["ott": .boolean, "ottca": .text, "updb": .text]])
      ) { operations, body in try await operations.createIdentity(body).id }
    ]
      + identities.changing() + [
        identities.relation("services", EdgeService.self, byPolicyType: true),
        identities.relation("edge-routers", EdgeRouterEntity.self),
        identities.relation("service-policies", ServicePolicy.self),
        identities.relation("edge-router-policies", EdgeRouterPolicy.self),
        identities.owned("authenticators", Authenticator.self, by: "identityId"),
        identities.owned("enrollments", Enrollment.self, by: "identityId"),
        identities.action("disable", body: RequestBody(.disabling), "Disable an identity and end its sessions") {
          operations, id, request in
          let body = try request.object()
          try await operations.disableIdentity(
            id, minutes: try body.required("durationMinutes", body.int("durationMinutes")))
          return .empty
        },
        identities.action("enable", "Enable an identity") { operations, id, _ in
          try await operations.enableIdentity(id)
          return .empty
        },
        identities.action("service-configs", method: "GET", "List the service configs of an identity") {
          operations, id, request in
          try await ServiceConfigs.list(operations.core, id, request)
        },
        identities.action(
          "service-configs", body: RequestBody(.serviceConfigs), "Give an identity its own config for services"
        ) {
          operations, id, request in
          try await operations.assign(try ServiceConfigs.read(request), to: id)
          return .empty
        },
        identities.action(
          "service-configs", method: "DELETE", body: RequestBody(.serviceConfigs, isRequired: false),
          "Take service configs from an identity"
        ) { operations, id, request in
          try await operations.unassign(request.body.isEmpty ? [] : try ServiceConfigs.read(request), from: id)
          return .empty
        },
        identities.action("posture-data", method: "GET", "What an identity reported of its posture") {
          operations, id, _ in
          .data(try Posture.data(operations.core, of: id))
        },
        identities.action("failed-service-requests", method: "GET", "What posture kept an identity from") {
          operations, id, _ in
          .data(try Posture.failures(operations.core, of: id))
        },
        Endpoint(
          "GET", "/identities/{id}/policy-advice/{serviceId}", access: .admin,
          "Explain what an identity may do with a service"
        ) {
          request, _ in
          .data(
            try PolicyAdvice.render(core, identity: request.parameter("id"), service: request.parameter("serviceId")))
        },
      ] + identityTypes(core)
  }

  private static func identityTypes(_ core: ControllerCore) -> [Endpoint] {
    @Sendable func detail(_ type: IdentityType) -> JSONValue {
      [
        "id": .string(type.rawValue), "name": .string(type.rawValue), "tags": [:],
        "createdAt": .string(Timestamp.epoch.text),
        "updatedAt": .string(Timestamp.epoch.text), "_links": Rendering.links("identity-types", type.rawValue),
      ]
    }
    let symbols = SymbolTable.of(.identities).only(["createdAt", "id", "isSystem", "name", "tags", "updatedAt"])
    return [
      Endpoint("GET", "/identity-types", access: .admin, "List identity types") { request, _ in
        let query = try ListQuery(request)
        try query.checkSort(symbols.checkOrder)
        let page = try (query.filter ?? .all).apply(to: BuiltIn.identityTypes, symbols: symbols, page: query.page) {
          type, name in
          switch name {
          case "id", "name": .string(type.rawValue)
          case "isSystem": .scalar(.bool(false))
          case "createdAt", "updatedAt": .scalar(.datetime(.epoch))
          default: .scalar(.null)
          }
        }
        return .list(page.map(detail), filterable: symbols.filterable)
      },
      Endpoint("GET", "/identity-types/{id}", access: .admin, "Show an identity type") { request, _ in
        guard let type = IdentityType(rawValue: request.parameter("id")) else { throw APIError.notFound() }
        return .data(detail(type))
      },
    ]
  }

  private static func services(_ core: ControllerCore) -> [Endpoint] {
    let services = Resource<EdgeService>(core: core)
    return services.managing() + [
      services.relation("identities", Identity.self, byPolicyType: true),
      services.relation("edge-routers", EdgeRouterEntity.self),
      services.relation("service-policies", ServicePolicy.self),
      services.relation("service-edge-router-policies", ServiceEdgeRouterPolicy.self),
      services.relation("configs", Config.self) { request, reader in
        Set(try reader.require(EdgeService.self, request.parameter("id")).configs)
      },
      TerminatorResource.ofService(core),
    ] + TerminatorResource.endpoints(core)
  }

  private static func configs(_ core: ControllerCore) -> [Endpoint] {
    let types = Resource<ConfigType>(core: core)
    let configs = Resource<Config>(core: core)
    return types.managing() + [
      types.owned("configs", Config.self, by: "configTypeId")
    ]
      + configs.managing() + [
        configs.relation("services", EdgeService.self) { request, reader in
          let id = request.parameter("id")
          return Set(try reader.all(EdgeService.self).filter { $0.configs.contains(id) }.map(\.id))
        }
      ]
  }

  private static func policies(_ core: ControllerCore) -> [Endpoint] {
    let service = Resource<ServicePolicy>(core: core)
    let router = Resource<EdgeRouterPolicy>(core: core)
    let serviceRouter = Resource<ServiceEdgeRouterPolicy>(core: core)
    return service.managing() + router.managing() + serviceRouter.managing()
      + Resource<AuthPolicy>(core: core).managing() + [
        service.relation("identities", Identity.self), service.relation("services", EdgeService.self),
        service.action("posture-checks", method: "GET", "List posture checks of a service policy") {
          operations, id, request in
          guard operations.core.model({ $0.servicePolicies[id] }) != nil else {
            throw StoreError.notFound(kind: .servicePolicies, id: id)
          }
          return .list([], query: try ListQuery(request))
        },
        router.relation("identities", Identity.self), router.relation("edge-routers", EdgeRouterEntity.self),
        serviceRouter.relation("services", EdgeService.self),
        serviceRouter.relation("edge-routers", EdgeRouterEntity.self),
      ]
  }

  private static func edgeRouters(_ core: ControllerCore) -> [Endpoint] {
    let routers = Resource<EdgeRouterEntity>(core: core)
    return routers.reading() + [
      routers.creating(EdgeRouterEntity.declaration.creationShape) { operations, body in
        try await operations.createEdgeRouter(body).router.id
      }
    ]
      + routers.changing() + [
        routers.relation("identities", Identity.self),
        routers.relation("services", EdgeService.self),
        routers.relation("edge-router-policies", EdgeRouterPolicy.self),
        routers.relation("service-edge-router-policies", ServiceEdgeRouterPolicy.self),
        routers.action("re-enroll", "Void a router's certificate and invite it anew") { operations, id, _ in
          try await operations.reenrollEdgeRouter(id)
          return .empty
        },
      ]
  }

  private static func credentials(_ core: ControllerCore) -> [Endpoint] {
    let enrollments = Resource<Enrollment>(core: core)
    let authenticators = Resource<Authenticator>(core: core)
    return enrollments.reading() + authenticators.reading() + [
      enrollments.creating(.enrollmentCreation) { operations, body in try await operations.createEnrollment(body).id },
      enrollments.deleting { operations, id in try await operations.deleteEnrollment(id) },
      enrollments.action("refresh", body: RequestBody(.expiry), "Renew the token of an enrollment") {
        operations, id, request in
        try await operations.refreshEnrollment(id, try request.object())
        return .data(["id": .string(id), "_links": Rendering.links("enrollments", id)])
      },
      authenticators.creating(.authenticatorCreation) { operations, body in
        try await operations.createAuthenticator(body).id
      },
      authenticators.deleting { operations, id in try await operations.deleteAuthenticator(id) },
      authenticators.action("re-enroll", body: RequestBody(.expiry), "Turn an authenticator back into an enrollment") {
        operations, id, request in
        .created(try await operations.reenrollAuthenticator(id, try request.object()).id, resource: "enrollments")
      },
    ]
      + authenticators.updating(.authenticator) { operations, id, body, partial in
        try await operations.updateAuthenticator(id, body, partial: partial)
      }
  }

  private static func sessions(_ core: ControllerCore) -> [Endpoint] {
    let api = Resource<APISession>(core: core)
    let service = Resource<ServiceSession>(core: core)
    return api.reading() + service.reading() + [
      api.deleting { operations, id in
        guard operations.core.sessions.apiSession(id) != nil else {
          throw StoreError.notFound(kind: .apiSessions, id: id)
        }
        try await operations.core.endSessions(apiSessions: [id])
      },
      service.action("route-path", method: "GET", "Routers of the newest circuit of a session") { operations, id, _ in
        let core = operations.core
        guard let session = core.sessions.serviceSession(id) else { throw StoreError.notFound(kind: .sessions, id: id) }
        let circuits = core.fabric.allCircuits.filter {
          $0.clientID == session.identityId && $0.serviceID == session.serviceId
        }
        return .data(["routePath": JSONValue(circuits.max { $0.createdAt < $1.createdAt }?.path ?? [])])
      },
      service.deleting { operations, id in
        guard operations.core.sessions.serviceSession(id) != nil else {
          throw StoreError.notFound(kind: .sessions, id: id)
        }
        try await operations.core.endSessions(serviceSessions: [id])
      },
    ]
  }

  private static func overview(_ core: ControllerCore) -> [Endpoint] {
    let counted: [EntityKind] = [
      .apiSessions, .apiSessionCertificates, .authenticators, .authPolicies, .configTypes, .configs,
      .edgeRouterPolicies, .edgeRouters, .enrollments,
      .identities,
      .revocations, .serviceEdgeRouterPolicies, .servicePolicies, .services, .sessions,
    ]
    return [
      Roles.endpoint(core, "/identity-role-attributes", .identities),
      Roles.endpoint(core, "/service-role-attributes", .services),
      Roles.endpoint(core, "/edge-router-role-attributes", .edgeRouters),
      Endpoint("GET", "/summary", access: .admin, "Count entities by kind") { _, _ in
        var counts: JSONObject = try await core.store.read { reader in
          try counted.reduce(into: [:]) { counts, kind in counts[kind.memberName] = JSONValue(try reader.count(kind)) }
        }
        counts["terminators"] = JSONValue(core.fabric.terminatorCount)
        return .data(.object(counts))
      },
    ]
  }
}
