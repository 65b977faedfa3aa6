import JSON
import Model
import Store

extension EdgeService: ManagedEntity {
  static func blank() -> EdgeService { EdgeService(id: EntityID.uuidBase62(), name: "") }

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    // A replacement may leave it out; a service never becomes less protected by an omission.
    try body.set("encryptionRequired", &encryptionRequired, or: body.mode == .create ? nil : true)
    try body.set("terminatorStrategy", &terminatorStrategy, or: TerminatorStrategy.smartRouting.rawValue)
    if terminatorStrategy.isEmpty { terminatorStrategy = TerminatorStrategy.smartRouting.rawValue }
    try body.set("roleAttributes", &roleAttributes)
    try body.set("configs", &configs)
    try body.set("maxIdleTimeMillis", &maxIdleTimeMillis, or: 0)
    try body.set("tags", &tags)
  }

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

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    try body.setOptional("schema", &schema)
    if body.mode == .create {
      try body.setWord("target", &target, or: .service, words: ["service", "router", "other"]) {
        ConfigTarget(rawValue: $0)
      }
    }
    try body.set("tags", &tags)
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    if let config = try transaction.first(Config.self, field: "configTypeId", equals: id) {
      throw OperationError.referenced(kind: .configTypes, id: id, by: "config \(config.name)")
    }
  }
}

extension Config: ManagedEntity {
  static func blank() -> Config { Config(id: EntityID.uuidBase62(), name: "", configTypeId: "") }

  mutating func read(_ body: EntityBody) throws {
    try body.set("name", &name)
    if body.mode == .create { try body.set("configTypeId", &configTypeId) }
    try body.set("data", &data, or: nil)
    try body.set("tags", &tags)
  }

  func checkReferences(_ old: Config?, _ transaction: StoreTransaction) throws {
    guard let type = try transaction.get(ConfigType.self, configTypeId) else {
      throw ModelError(
        code: .notFound, field: "configTypeId", reason: "config-types with id \(configTypeId) not found",
        value: .string(configTypeId))
    }
    try validate(against: type)
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

  mutating func read(_ body: EntityBody) throws {
    try body.set("service", &serviceId)
    if body.mode == .create {
      try body.set("identity", &identity, or: "")
      try body.setOptional("identitySecret", &identitySecret)
    }
    try body.set("router", &routerId)
    try body.set("binding", &binding)
    try body.set("address", &address)
    try body.set("cost", &cost, or: 0)
    try body.setWord("precedence", &precedence, or: .default, words: Precedence.allCases.map(\.rawValue)) {
      Precedence(rawValue: $0)
    }
    try body.set("tags", &tags)
  }

  func checkReferences(_ old: Terminator?, _ transaction: StoreTransaction) throws {
    try transaction.check(.services, serviceId, field: "service")
    try transaction.check(.edgeRouters, routerId, field: "router")
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
