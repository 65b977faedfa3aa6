import JSON
import Model
import REST
import Store

/// Per-identity overrides of service configs, as documents.
enum ServiceConfigs {
  static func read(_ request: APIRequest) throws -> [ServiceConfigOverride] {
    let value = try request.parsed()
    guard let entries = value.arrayValue else { throw APIError.field("body", "must be an array, is \(value.typeName)") }
    return try entries.map { entry in
      guard let entry = entry.objectValue else {
        throw APIError.field("body", "must be an array of objects", value: entry)
      }
      return ServiceConfigOverride(
        serviceID: try entry.required("serviceId", try entry.string("serviceId")),
        configID: try entry.required("configId", try entry.string("configId")))
    }
  }

  static func list(_ core: ControllerCore, _ id: String, _ request: APIRequest) async throws -> APIResponse {
    let query = try ListQuery(request)
    let items: [JSONValue] = try core.model { state in
      guard let identity = state.identities[id] else { throw StoreError.notFound(kind: .identities, id: id) }
      return identity.serviceConfigs.sorted { $0.key < $1.key }.flatMap { service, byType in
        byType.sorted { $0.key < $1.key }.map { type, config in
          [
            "serviceId": .string(service),
            "service": Rendering.reference(.services, service, state.services[service]?.name ?? service),
            "configId": .string(config),
            "config": Rendering.reference(.configs, config, state.configs[config]?.name ?? config),
            "configTypeId": .string(type),
          ]
        }
      }
    }
    return .list(items, query: query)
  }
}
