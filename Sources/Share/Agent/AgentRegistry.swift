import Foundation
import Model
import SwiftletShare

/// The orders of an agent that outlive it, in the file that zrok's agents keep theirs in, so that either goes on with what the other was asked (zrok.md 5.6).
/// Passwords of shares stand in it: mode 0600.
struct AgentRegistry {
  private static let version = "2"
  private static let sizeLimit = 4 << 20

  let path: String

  init(_ environment: ShareEnvironment) { path = environment.directory + "/agent-registry.json" }

  /// - Throws: `ShareError.badFile`: what cannot be read would be lost at the next order.
  func load() throws -> [AgentOrder] {
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    guard let data = FileManager.default.contents(atPath: path), data.count <= Self.sizeLimit,
      let file = try? JSONValue(parsing: Array(data), limits: .stored).objectValue
    else { throw ShareError.badFile(path, reason: "it is no readable JSON object; mend it, or move it away to forget what the agent was asked") }
    guard file["v"]?.stringValue == Self.version else {
      throw ShareError.badFile(path, reason: "its version is \(file["v"]?.stringValue ?? "missing"), not \(Self.version); move it away")
    }
    func requests(_ member: String) -> [JSONObject] { (file[member]?.arrayValue ?? []).compactMap { $0["request"]?.objectValue } }
    return requests("public_shares").map { .share(Self.share($0, .public)) } + requests("private_shares").map { .share(Self.share($0, .private)) }
      + requests("private_accesses").map { .access(Self.access($0)) }
  }

  /// Durable on return.
  /// - Throws: `ShareError.badFile`.
  func save(_ orders: [AgentOrder]) throws {
    var lists: [String: [JSONValue]] = [:]
    for order in orders where order.isLasting {
      switch order {
      case .share(let share): lists[share.mode == .public ? "public_shares" : "private_shares", default: []].append(["request": Self.json(share)])
      case .access(let access): lists["private_accesses", default: []].append(["request": Self.json(access)])
      }
    }
    let object = JSONObject(uniqueKeysWithValues: lists.map { ($0, .array($1)) }).merging(["v": .string(Self.version)]) { $1 }
    let temporary = path + ".tmp"
    guard FileManager.default.createFile(atPath: temporary, contents: nil, attributes: [.posixPermissions: 0o600]),
      let file = FileHandle(forWritingAtPath: temporary)
    else { throw ShareError.badFile(path, reason: "it cannot be written") }
    do {
      try file.write(contentsOf: Data(JSONValue.object(object).serialized()))
      try file.synchronize()
      try file.close()
    } catch { throw ShareError.badFile(path, reason: "it cannot be written: \(error)") }
    guard rename(temporary, path) == 0 else { throw ShareError.badFile(path, reason: "it cannot be replaced") }
  }

  // MARK: Members

  private static func text(_ object: JSONObject, _ member: String) -> String { object[member]?.stringValue ?? "" }
  private static func flag(_ object: JSONObject, _ member: String) -> Bool { object[member]?.boolValue ?? false }
  // Go writes an empty list as null.
  private static func list(_ object: JSONObject, _ member: String) -> [String] { object[member]?.stringArrayValue ?? [] }

  private static func share(_ object: JSONObject, _ mode: ShareOptions.Mode) -> AgentOrder.Share {
    var share = AgentOrder.Share(mode)
    share.target = text(object, "target")
    share.backendMode = text(object, "backend_mode")
    share.insecure = flag(object, "insecure")
    share.closed = flag(object, "closed")
    share.accessGrants = list(object, "access_grants")
    share.token = text(object, "private_share_token")
    share.basicAuth = list(object, "basic_auth")
    share.oauthProvider = text(object, "oauth_provider")
    share.oauthEmailDomains = list(object, "oauth_email_domains")
    share.oauthRefreshInterval = text(object, "oauth_refresh_interval")
    share.names = (object["name_selections"]?.arrayValue ?? []).compactMap(\.objectValue).map {
      .init(namespace: text($0, "namespace_token"), name: text($0, "name"))
    }
    return share
  }

  private static func json(_ share: AgentOrder.Share) -> JSONValue {
    var object: JSONObject = [
      "target": .string(share.target), "backend_mode": .string(share.backendMode), "insecure": .bool(share.insecure), "closed": .bool(share.closed),
      "access_grants": JSONValue(share.accessGrants),
    ]
    switch share.mode {
    case .private: object["private_share_token"] = .string(share.token)
    case .public:
      object["basic_auth"] = JSONValue(share.basicAuth)
      object["oauth_provider"] = .string(share.oauthProvider)
      object["oauth_email_domains"] = JSONValue(share.oauthEmailDomains)
      object["oauth_refresh_interval"] = .string(share.oauthRefreshInterval)
      object["name_selections"] = .array(share.names.map { ["namespace_token": .string($0.namespace), "name": .string($0.name)] })
    }
    return .object(object)
  }

  private static func access(_ object: JSONObject) -> AgentOrder.Access {
    var access = AgentOrder.Access(text(object, "share_token"))
    access.bindAddress = text(object, "bind_address")
    access.autoMode = flag(object, "auto_mode")
    access.autoAddress = text(object, "auto_address")
    access.autoStartPort = object["auto_start_port"]?.intValue ?? 0
    access.autoEndPort = object["auto_end_port"]?.intValue ?? 0
    access.responseHeaders = list(object, "response_headers")
    return access
  }

  private static func json(_ access: AgentOrder.Access) -> JSONValue {
    [
      "share_token": .string(access.token), "bind_address": .string(access.bindAddress), "auto_mode": .bool(access.autoMode),
      "auto_address": .string(access.autoAddress), "auto_start_port": JSONValue(access.autoStartPort), "auto_end_port": JSONValue(access.autoEndPort),
      "response_headers": JSONValue(access.responseHeaders),
    ]
  }
}
