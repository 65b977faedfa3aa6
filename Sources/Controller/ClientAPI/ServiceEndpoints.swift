import Access
import Authentication
import Fabric
import JSON
import Model
import REST
import Store

/// Services of the caller and sessions for them (edge-client-api.md 5.5 to 5.9, 5.12).
enum ServiceEndpoints {
  static func all(_ issuer: SessionIssuer) -> [Endpoint] { services(issuer) + sessions(issuer) + posture() }

  private static func services(_ issuer: SessionIssuer) -> [Endpoint] {
    let core = issuer.core
    return [
      Endpoint("GET", "/services", "Services the caller may dial or host") { request, caller in
        try await Resource<EdgeService>(core: core).list(
          request, caller, ids: core.model { $0.access }.grants.services(for: caller.identityID),
          configTypes: try configTypes(issuer, request, caller),
          symbols: ClientSymbols.services)
      },
      Endpoint("GET", "/services/{id}", "A service the caller may dial or host") { request, caller in
        let service = try visible(core, request, caller)
        let types = try configTypes(issuer, request, caller)
        return .data(
          .object(
            try await core.store.read {
              try service.detail(DetailView(core: core, reader: $0, caller: caller, configTypes: types))
            }))
      },
      Endpoint("GET", "/services/{id}/edge-routers", "Edge routers for a service") { request, caller in
        // All of them, whatever page is asked for: SDKs choose among them.
        _ = try ListQuery(request)
        let service = try visible(core, request, caller)
        let routers = try issuer.routers(identity: caller.identityID, service: service.id).map { router in
          JSONValue.object(try Rendering.routerCommon(router, core.routers[router.id]))
        }
        return .data(["edgeRouters": .array(routers)])
      },
      Endpoint("GET", "/services/{id}/terminators", "Hosts of a service, for dialling one of them") { request, caller in
        let service = try visible(core, request, caller)
        let query = try ListQuery(request)
        let symbols = ClientSymbols.terminators
        try query.checkSort(symbols.checkOrder)
        // A service may have many: callers take turns, and get all of them as they take them.
        let page = try await core.store.search(for: caller.identityID) { _ in
          let terminators = core.fabric.terminators(ofService: service.id)
          return try (query.filter ?? .all).apply(to: terminators, symbols: symbols, page: query.page) {
            value(of: $1, $0, service)
          }
        }
        return try await .list(page, core, caller, filterable: symbols.filterable) { terminators in
          terminators.map { terminator in
            [
              "id": .string(terminator.id), "createdAt": .string(terminator.createdAt.text),
              "updatedAt": .string(terminator.createdAt.text),
              "_links": Rendering.links("terminators", terminator.id), "tags": [:],
              "identity": .string(terminator.instance),
              "routerId": .string(terminator.routerID), "serviceId": .string(service.id),
              "service": Rendering.reference(.services, service.id, service.name),
            ]
          }
        }
      },
    ]
  }

  /// The symbols of `ClientSymbols.terminators`.
  private static func value(of name: String, _ terminator: LiveTerminator, _ service: EdgeService) -> FilterValue {
    switch name {
    case "id": .string(terminator.id)
    case "instanceId": .string(terminator.instance)
    case "router": .string(terminator.routerID)
    case "service": .string(service.id)
    case "service.name": .string(service.name)
    case "createdAt", "updatedAt": .scalar(.datetime(terminator.createdAt))
    default: .scalar(.null)
    }
  }

  private static func visible(_ core: ControllerCore, _ request: APIRequest, _ caller: Caller) throws -> EdgeService {
    let id = request.parameter("id")
    let service = core.model { state in
      state.access.grants.actions(identity: caller.identityID, service: id).isEmpty ? nil : state.services[id]
    }
    guard let service else { throw StoreError.notFound(kind: .services, id: id) }
    return service
  }

  /// Config types of the request, else those the session was made with.
  private static func configTypes(_ issuer: SessionIssuer, _ request: APIRequest, _ caller: Caller) throws -> Set<
    String
  > {
    let asked = request.queryList("configTypes")
    return Set(asked.isEmpty ? try issuer.session(of: caller).configTypes : asked)
  }

  private static func sessions(_ issuer: SessionIssuer) -> [Endpoint] {
    let core = issuer.core
    @Sendable func owned(_ request: APIRequest, _ caller: Caller) throws -> ServiceSession {
      let id = request.parameter("id")
      guard let session = core.sessions.serviceSession(id), session.apiSessionId == caller.apiSessionID else {
        throw StoreError.notFound(kind: .sessions, id: id)
      }
      return session
    }
    return [
      Endpoint("POST", "/sessions", body: RequestBody(.session), "A session for a service") { request, caller in
        let body = try request.object()
        let word = try body.string("type") ?? PolicyType.dial.rawValue
        // `Invalid` is a word of the document, and no type of session.
        guard let type = PolicyType(rawValue: word) else {
          throw APIError.field("type", "type in body should be one of [Dial Bind]", value: .string(word))
        }
        let session = try await issuer.serviceSession(
          caller, service: try body.required("serviceId", body.string("serviceId")), type: type)
        return .data(.object(try issuer.render(session)), status: 201)
      },
      Endpoint("GET", "/sessions", "Sessions of the session in use") { request, caller in
        let ids = Set(core.sessions.serviceSessions(apiSession: caller.apiSessionID).map(\.id))
        return try await ClientAPI.page(
          core, ServiceSession.self, request, caller, symbols: ClientSymbols.sessions, ids: { _ in ids }
        ) {
          try issuer.render($0)
        }
      },
      Endpoint("GET", "/sessions/{id}", "A session for a service") { request, caller in
        .data(.object(try issuer.render(try owned(request, caller))))
      },
      Endpoint("DELETE", "/sessions/{id}", "End a session for a service") { request, caller in
        try await core.endSessions(serviceSessions: [try owned(request, caller).id])
        return .empty
      },
    ]
  }

  /// No policy of this network asks for posture: what SDKs report is read and changes nothing.
  private static func posture() -> [Endpoint] {
    [
      Endpoint("POST", "/posture-response", body: RequestBody(.posture), "Report posture") { _, _ in
        .data(["services": []], status: 201)
      },
      Endpoint("POST", "/posture-response-bulk", body: RequestBody(.list(.posture)), "Report posture") { _, _ in
        .data(["services": []])
      },
    ]
  }
}
