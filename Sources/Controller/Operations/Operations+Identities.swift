import Authentication
import JSON
import Model
import Store

/// One override: this identity sees the service with this config instead of the service's own of that type.
struct ServiceConfigOverride: Sendable, Equatable {
  var serviceID: String
  var configID: String
}

extension Operations {
  /// - Parameter minutes: 0 = until enabled again. The sessions of the identity end.
  func disableIdentity(_ id: String, minutes: Int) async throws {
    guard (0...52_560_000).contains(minutes) else {
      throw ModelError(
        field: "durationMinutes", reason: "durationMinutes must be between 0 and 52560000", value: JSONValue(minutes))
    }
    let now = core.now
    let context = context
    try await core.revoking(.identities, id) {
      try await core.write(context) { transaction in
        var identity = try transaction.require(Identity.self, id)
        guard !identity.isDefaultAdmin else {
          throw OperationError.cannotBeUpdated(
            kind: .identities, id: id, reason: "the default administrator cannot be disabled")
        }
        identity.disabledAt = now
        identity.disabledUntil = minutes == 0 ? nil : now.adding(seconds: Int64(minutes) * 60)
        try transaction.put(identity)
      }
    }
  }

  /// Ends a disabling and a lock-out: who enables has judged both.
  func enableIdentity(_ id: String) async throws {
    let attempts = core.attempts
    try await core.write(context) { transaction in
      var identity = try transaction.require(Identity.self, id)
      identity.disabledAt = nil
      identity.disabledUntil = nil
      identity.lockedAt = nil
      identity.lockedUntil = nil
      try transaction.put(identity)
      for authenticator in try transaction.all(Authenticator.self, field: "identityId", equals: id) {
        attempts.forget(authenticator.id)
      }
    }
    core.unstored.remove(.identities, id)
  }

  func assign(_ overrides: [ServiceConfigOverride], to id: String) async throws {
    try await core.write(context) { transaction in
      var identity = try transaction.require(Identity.self, id)
      for override in overrides {
        try transaction.check(.services, override.serviceID, field: "serviceId")
        try transaction.check(.configs, override.configID, field: "configId")
        try transaction.check(configs: [override.configID], target: .service)
        let type = try transaction.require(Config.self, override.configID).configTypeId
        identity.serviceConfigs[override.serviceID, default: [:]][type] = override.configID
      }
      try transaction.put(identity)
    }
  }

  /// Removes overrides; with none given, all.
  func unassign(_ overrides: [ServiceConfigOverride], from id: String) async throws {
    try await core.write(context) { transaction in
      var identity = try transaction.require(Identity.self, id)
      if overrides.isEmpty { identity.serviceConfigs = [:] }
      for override in overrides {
        let kept = identity.serviceConfigs[override.serviceID]?.filter { $0.value != override.configID } ?? [:]
        identity.serviceConfigs[override.serviceID] = kept.isEmpty ? nil : kept
      }
      try transaction.put(identity)
    }
  }
}
