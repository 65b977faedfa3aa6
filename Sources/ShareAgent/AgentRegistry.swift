import Foundation
import JSON
import SwiftletShare
import Transport

/// The orders of an agent that outlive it, in the file that zrok's agents keep theirs in, so that either goes on with
/// what the other was asked (zrok.md 5.6). Passwords of shares stand in it: mode 0600.
struct AgentRegistry {
  private static let version = "2"
  /// Of zrok's first generation: reserved shares, which this agent does not know. Such a file is put aside by the first
  /// order.
  private static let firstVersion = "1"
  private static let sizeLimit = 4 << 20

  let path: String

  init(_ environment: ShareEnvironment) { path = environment.directory + "/agent-registry.json" }

  /// - Throws: `ShareError.badFile`: what cannot be read would be lost at the next order.
  func load() throws -> [AgentOrder] {
    guard let file = try read() else { return [] }
    switch file["v"]?.stringValue {
    case Self.version?: break
    case Self.firstVersion?: return []
    case let other:
      throw ShareError.badFile(path, reason: "its version is \(other ?? "missing"), not \(Self.version); move it away")
    }
    func requests<Order>(_ member: String, _ read: (JSONObject) throws -> Order) throws -> [Order] {
      guard let value = file[member], value != .null else { return [] }
      guard let entries = value.arrayValue else { throw bad("\(member) is no list") }
      return try entries.map { entry in
        guard let request = entry["request"]?.objectValue else { throw bad("an entry of \(member) has no request") }
        return try read(request)
      }
    }
    return try requests("public_shares") { .share(try share($0, .public)) }
      + requests("private_shares") { .share(try share($0, .private)) }
      + requests("private_accesses") { .access(try access($0)) }
  }

  private func read() throws -> JSONObject? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    guard let data = FileManager.default.contents(atPath: path), data.count <= Self.sizeLimit,
      let file = try? JSONValue(parsing: Array(FileText.withoutMark(data)), limits: .stored).objectValue
    else { throw bad("it is no readable JSON object") }
    return file
  }

  private func bad(_ reason: String) -> ShareError {
    .badFile(path, reason: reason + "; mend it, or move it away to forget what the agent was asked")
  }

  /// Durable on return.
  /// - Throws: `ShareError.badFile`.
  func save(_ orders: [AgentOrder]) throws {
    var lists: [String: [JSONValue]] = [:]
    for order in orders where order.isLasting {
      switch order {
      case .share(let share):
        lists[share.mode == .public ? "public_shares" : "private_shares", default: []].append([
          "request": Self.json(share)
        ])
      case .access(let access): lists["private_accesses", default: []].append(["request": Self.json(access)])
      }
    }
    let object = JSONObject(uniqueKeysWithValues: lists.map { ($0, .array($1)) }).merging(["v": .string(Self.version)])
    { $1 }
    if try read()?["v"]?.stringValue == Self.firstVersion {
      do throws(PrivateFile.Failure) { try PrivateFile.move(path, to: path + "." + Self.firstVersion) } catch {
        throw ShareError.badFile(
          path, reason: "it is of zrok's first generation and cannot be put aside: \(error.because)")
      }
    }
    do throws(PrivateFile.Failure) { try PrivateFile.write(JSONValue.object(object).serialized(), to: path) } catch {
      throw ShareError.badFile(path, reason: "it cannot be written: \(error.because)")
    }
  }

  // MARK: Members

  private func text(_ object: JSONObject, _ member: String) throws -> String {
    guard let value = object[member], value != .null else { return "" }
    guard let text = value.stringValue else { throw bad("\(member) is no text") }
    return text
  }

  private func flag(_ object: JSONObject, _ member: String) throws -> Bool {
    guard let value = object[member], value != .null else { return false }
    guard let flag = value.boolValue else { throw bad("\(member) is neither true nor false") }
    return flag
  }

  /// Go writes an empty list as null.
  private func list(_ object: JSONObject, _ member: String) throws -> [String] {
    guard let value = object[member], value != .null else { return [] }
    guard let list = value.stringArrayValue else { throw bad("\(member) is no list of texts") }
    return list
  }

  private func share(_ object: JSONObject, _ mode: ShareOptions.Mode) throws -> AgentOrder.Share {
    var share = AgentOrder.Share(mode)
    share.target = try text(object, "target")
    share.backendMode = try text(object, "backend_mode")
    share.insecure = try flag(object, "insecure")
    share.closed = try flag(object, "closed")
    share.accessGrants = try list(object, "access_grants")
    share.token = try text(object, "private_share_token")
    share.basicAuth = try list(object, "basic_auth")
    share.oauthProvider = try text(object, "oauth_provider")
    share.oauthEmailDomains = try list(object, "oauth_email_domains")
    share.oauthRefreshInterval = try text(object, "oauth_refresh_interval")
    share.names = try (object["name_selections"]?.arrayValue ?? []).map { selection in
      guard let selection = selection.objectValue else { throw bad("name_selections is no list of objects") }
      return .init(namespace: try text(selection, "namespace_token"), name: try text(selection, "name"))
    }
    return share
  }

  private static func json(_ share: AgentOrder.Share) -> JSONValue {
    var object: JSONObject = [
      "target": .string(share.target), "backend_mode": .string(share.backendMode), "insecure": .bool(share.insecure),
      "closed": .bool(share.closed),
      "access_grants": JSONValue(share.accessGrants),
    ]
    switch share.mode {
    case .private: object["private_share_token"] = .string(share.token)
    case .public:
      object["basic_auth"] = JSONValue(share.basicAuth)
      object["oauth_provider"] = .string(share.oauthProvider)
      object["oauth_email_domains"] = JSONValue(share.oauthEmailDomains)
      object["oauth_refresh_interval"] = .string(share.oauthRefreshInterval)
      object["name_selections"] = .array(
        share.names.map { ["namespace_token": .string($0.namespace), "name": .string($0.name)] })
    }
    return .object(object)
  }

  private func access(_ object: JSONObject) throws -> AgentOrder.Access {
    var access = AgentOrder.Access(try text(object, "share_token"))
    access.bindAddress = try text(object, "bind_address")
    access.autoMode = try flag(object, "auto_mode")
    access.autoAddress = try text(object, "auto_address")
    access.autoStartPort = object["auto_start_port"]?.intValue ?? 0
    access.autoEndPort = object["auto_end_port"]?.intValue ?? 0
    access.responseHeaders = try list(object, "response_headers")
    return access
  }

  private static func json(_ access: AgentOrder.Access) -> JSONValue {
    [
      "share_token": .string(access.token), "bind_address": .string(access.bindAddress),
      "auto_mode": .bool(access.autoMode),
      "auto_address": .string(access.autoAddress), "auto_start_port": JSONValue(access.autoStartPort),
      "auto_end_port": JSONValue(access.autoEndPort),
      "response_headers": JSONValue(access.responseHeaders),
    ]
  }
}
