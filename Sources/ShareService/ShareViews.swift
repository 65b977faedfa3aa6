import Foundation
import JSON
import Model
import Store
import SwiftletShare

/// Rows as the API shows them (zrok.md 2.7). Arrays are never null: clients iterate them.
struct ShareViews {
  enum Generation { case v1, v2 }

  let reader: StoreReader
  let generation: Generation
  let now: Timestamp

  private static func times(_ entity: some Entity) -> JSONObject {
    [
      "createdAt": .int(entity.createdAt.millisecondsSinceEpoch),
      "updatedAt": .int(entity.updatedAt.millisecondsSinceEpoch),
    ]
  }

  func environment(_ row: ShareEnvironmentRow) throws -> JSONValue {
    .object(
      Self.times(row).merging(
        [
          "description": .string(row.description), "host": .string(row.host), "address": .string(row.address),
          "zId": .string(row.id),
          "remoteAgent": .bool(try isEnrolled(row.id)), "activity": try activity(shares(row.id).map(\.token)),
          "limited": .bool(isLimited(account: row.accountId)),
        ]) { $1 })
  }

  /// Whether the environment's agent takes orders of the service.
  func isEnrolled(_ environment: String) throws -> Bool {
    try reader.get(ShareAgentEnrollment.self, environment) != nil
  }

  func share(_ row: ShareRow, withActivity: Bool = true) throws -> JSONValue {
    var object = Self.times(row)
    object["shareToken"] = .string(row.token)
    object["zId"] = .string(row.serviceId)
    object["envZId"] = .string(row.environmentId)
    object["shareMode"] = .string(row.mode.rawValue)
    object["backendMode"] = .string(row.backendMode.rawValue)
    object["limited"] = .bool(row.isPaused)
    if withActivity { object["activity"] = try activity([row.token]) }
    switch generation {
    case .v1:
      object["frontendSelection"] = .string(row.frontendSelection)
      object["frontendEndpoint"] = .string(row.endpoints.first ?? "")
      object["backendProxyEndpoint"] = .string(row.target)
      object["reserved"] = .bool(row.reserved)
    case .v2:
      object["frontendEndpoints"] = JSONValue(row.endpoints)
      object["target"] = .string(row.target)
    }
    return .object(object)
  }

  func access(_ row: ShareAccessRow) -> JSONValue {
    .object(
      Self.times(row).merging(
        [
          "id": JSONValue(row.number), "frontendToken": .string(row.token), "shareToken": .string(row.shareToken),
          "backendMode": .string(row.backendMode.rawValue), "bindAddress": .string(row.bindAddress),
          "description": .string(row.description),
          "zId": .string(row.environmentId),
        ]) { $1 })
  }

  func name(_ row: ShareName) throws -> JSONValue {
    [
      "namespaceToken": .string(row.namespace),
      "namespaceName": .string(try reader.get(ShareNamespace.self, row.namespace)?.name ?? ""),
      "name": .string(row.name), "shareToken": .string(row.shareToken), "reserved": .bool(row.reserved),
      // Seconds, as times of namespaces, and unlike all others of this API.
      "createdAt": .int(row.createdAt.secondsSinceEpoch),
    ]
  }

  func namespace(_ row: ShareNamespace) -> JSONValue {
    ["namespaceToken": .string(row.id), "name": .string(row.name), "description": .string(row.description)]
  }

  func resources(_ environment: ShareEnvironmentRow) throws -> JSONValue {
    [
      "environment": try self.environment(environment),
      "shares": .array(try shares(environment.id).map { try share($0) }),
      "frontends": .array(try accesses(environment.id).map(access)),
    ]
  }

  func environments(_ account: String) throws -> [ShareEnvironmentRow] {
    try reader.all(ShareEnvironmentRow.self, field: "accountId", equals: account).sorted { $0.createdAt < $1.createdAt }
  }

  func shares(_ environment: String) throws -> [ShareRow] {
    try reader.all(ShareRow.self, field: "environmentId", equals: environment).sorted { $0.createdAt < $1.createdAt }
  }

  func accesses(_ environment: String) throws -> [ShareAccessRow] {
    try reader.all(ShareAccessRow.self, field: "environmentId", equals: environment).sorted { $0.number < $1.number }
  }

  /// Names of the account, of one namespace or of all that it may use now: without the grant, names are not shown,
  /// though they stay its own.
  func names(_ account: ShareAccount, namespace: String? = nil) throws -> [JSONValue] {
    let usable = Set(try usableNamespaces(account).map(\.id))
    return try reader.all(ShareName.self, field: "accountId", equals: account.id)
      .filter { usable.contains($0.namespace) && (namespace == nil || $0.namespace == namespace) }
      .sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.map(name)
  }

  private func usableNamespaces(_ account: ShareAccount) throws -> [ShareNamespace] {
    try reader.all(ShareNamespace.self).filter(account.mayUse)
  }

  func namespaces(_ account: ShareAccount) throws -> [JSONValue] { try usableNamespaces(account).map(namespace) }

  /// - Parameter changed: when the operator's file was changed: classes have no times of their own.
  static func limitClass(_ row: ShareLimits.LimitClass, changed: Timestamp) -> JSONValue {
    func number(_ value: Int?) -> JSONValue { JSONValue(value ?? -1) }
    return [
      "id": JSONValue(row.id), "label": .string(row.label), "backendMode": .string(row.backendMode?.rawValue ?? ""),
      "environments": number(row.counts.environments), "shares": number(row.counts.shares),
      "reservedShares": number(row.counts.reservedNames),
      "uniqueNames": number(row.counts.reservedNames), "shareFrontends": number(row.counts.accesses),
      "periodMinutes": JSONValue(row.bandwidth.period / 60), "rxBytes": number(row.bandwidth.rx),
      "txBytes": number(row.bandwidth.tx),
      "totalBytes": number(row.bandwidth.total), "limitAction": .string(row.action.rawValue),
      "createdAt": .int(changed.millisecondsSinceEpoch), "updatedAt": .int(changed.millisecondsSinceEpoch),
    ]
  }

  /// Whether a bandwidth limit holds the account back.
  func isLimited(account: String) -> Bool { (try? reader.get(ShareAccount.self, account))?.limited ?? false }

  func overview(_ account: ShareAccount) throws -> JSONValue {
    var object: JSONObject = [
      "accountLimited": .bool(account.limited ?? false),
      "environments": .array(try environments(account.id).map(resources)),
    ]
    if generation == .v2 {
      object["namespaces"] = .array(try namespaces(account))
      object["names"] = .array(try names(account))
    }
    return .object(object)
  }
}
