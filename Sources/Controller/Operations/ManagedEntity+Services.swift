import JSON
import Model
import Store

extension EdgeService: ManagedEntity {
  static func blank() -> EdgeService { EdgeService(id: EntityID.uuidBase62(), name: "") }

  func checkReferences(_ old: EdgeService?, _ transaction: StoreTransaction) throws {
    try transaction.check(configs: configs, target: .service)
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    try transaction.removeRoles(of: .services, id)
    for identity in try transaction.all(Identity.self) {
      guard
        identity.serviceConfigs[id] != nil || identity.serviceHostingCosts[id] != nil
          || identity.serviceHostingPrecedences[id] != nil
      else {
        continue
      }
      var identity = identity
      identity.serviceConfigs[id] = nil
      identity.serviceHostingCosts[id] = nil
      identity.serviceHostingPrecedences[id] = nil
      try transaction.put(identity)
    }
    for terminator in try transaction.all(Terminator.self, field: "serviceId", equals: id) {
      try transaction.delete(Terminator.self, terminator.id)
    }
  }
}

extension ConfigType: ManagedEntity {
  static func blank() -> ConfigType { ConfigType(id: EntityID.uuidBase62(), name: "") }

  func willDelete(_ transaction: StoreTransaction) throws {
    if let config = try transaction.first(Config.self, field: "configTypeId", equals: id) {
      throw OperationError.referenced(kind: .configTypes, id: id, by: "config \(config.name)")
    }
  }
}

extension Config: ManagedEntity {
  static func blank() -> Config { Config(id: EntityID.uuidBase62(), name: "", configTypeId: "") }

  func checkReferences(_ old: Config?, _ transaction: StoreTransaction) throws {
    try checkMembers(transaction)
    try validate(against: transaction.require(ConfigType.self, configTypeId))
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    if let user = try transaction.all(Identity.self).first(where: {
      $0.serviceConfigs.values.contains { $0.values.contains(id) }
    }) {
      throw OperationError.referenced(kind: .configs, id: id, by: "a service config of identity \(user.name)")
    }
    for service in try transaction.all(EdgeService.self) where service.configs.contains(id) {
      var service = service
      service.configs.removeAll { $0 == id }
      try transaction.put(service)
    }
    for router in try transaction.all(EdgeRouterEntity.self) where router.configs.contains(id) {
      var router = router
      router.configs.removeAll { $0 == id }
      try transaction.put(router)
    }
  }
}

extension Terminator: ManagedEntity {
  static func blank() -> Terminator {
    Terminator(id: EntityID.uuidBase62(), serviceId: "", routerId: "", binding: "", address: "")
  }

  func checkReferences(_ old: Terminator?, _ transaction: StoreTransaction) throws {
    try checkMembers(transaction)
    guard !identity.isEmpty else { return }
    for other in try transaction.all(Terminator.self, field: "serviceId", equals: serviceId)
    where other.id != id && other.identity == identity {
      guard other.hostId == hostId else {
        throw ModelError(
          field: "identity", reason: "the terminator identity \(identity) is hosted by another identity already",
          value: .string(identity))
      }
    }
  }
}
