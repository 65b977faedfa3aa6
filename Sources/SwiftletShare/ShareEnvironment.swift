import Foundation
import JSON
public import Swiftlet
import Transport

/// What this machine is at a share service: the directory that zrok's clients keep too (zrok.md 2.11), so that either
/// can use what the other enabled.
public struct ShareEnvironment: Sendable {
  /// The directory; mode 0700, its files 0600.
  public let directory: String
  /// nil while the machine is not enabled.
  public private(set) var enabled: Enabled?
  private var settings: JSONObject

  /// An enabled environment.
  public struct Enabled: Sendable, Equatable {
    /// The account's token: whoever has it is the account.
    public var token: String
    /// Id of the identity that shares and accesses run as.
    public var identity: String
    /// URL of the share service.
    public var endpoint: String

    /// - Parameters:
    ///   - token: the account's.
    ///   - identity: id of the identity that shares and accesses run as.
    ///   - endpoint: URL of the share service.
    public init(token: String, identity: String, endpoint: String) {
      self.token = token
      self.identity = identity
      self.endpoint = endpoint
    }
  }

  /// Settings that outlive an enabling.
  public enum Setting: String, Sendable, CaseIterable {
    /// URL of the share service, where the machine is not enabled.
    case apiEndpoint
    /// The namespace of names that are given without one.
    case defaultNamespace
    /// Whether commands show plain lines in place of the live view: `true` or `false`.
    case headless

    var member: String {
      switch self {
      case .apiEndpoint: "api_endpoint"
      case .defaultNamespace: "default_namespace"
      case .headless: "headless"
      }
    }
  }

  /// The version that every generation's clients write.
  private static let metadataVersion = "v0.4"

  /// Reads what there is; a directory that does not exist is a machine that is not enabled.
  /// - Parameters:
  ///   - directory: nil takes `SWIFTLET_SHARE_HOME`, else `~/.zrok2`, or `~/.zrok` where only that exists.
  /// - Throws: `ShareError.badFile`.
  public static func load(directory: String? = nil) throws -> ShareEnvironment {
    let directory = directory ?? defaultDirectory
    var environment = ShareEnvironment(directory: directory, enabled: nil, settings: [:])
    if let settings = try read(environment.path("config.json")) { environment.settings = settings }
    if let file = try read(environment.path("environment.json")) {
      guard let token = file["zrok_token"]?.stringValue, let identity = file["ziti_identity"]?.stringValue,
        let endpoint = file["api_endpoint"]?.stringValue
      else {
        throw ShareError.badFile(
          environment.path("environment.json"), reason: "zrok_token, ziti_identity or api_endpoint is missing")
      }
      environment.enabled = Enabled(token: token, identity: identity, endpoint: endpoint)
    }
    return environment
  }

  private static var defaultDirectory: String {
    let variables = ProcessInfo.processInfo.environment
    if let directory = variables["SWIFTLET_SHARE_HOME"], !directory.isEmpty { return directory }
    let home = variables["HOME"] ?? NSHomeDirectory()
    let (second, first) = (home + "/.zrok2", home + "/.zrok")
    let files = FileManager.default
    return !files.fileExists(atPath: second) && files.fileExists(atPath: first) ? first : second
  }

  private func path(_ name: String) -> String { directory + "/" + name }

  /// The identity file of the environment.
  public var identityPath: String { path("identities/environment.json") }

  /// The identity that shares and accesses run as.
  /// - Throws: `ShareError.notEnabled`, or `IdentityFileError`.
  public func identity() throws -> IdentityFile {
    guard enabled != nil else { throw ShareError.notEnabled }
    return try IdentityFile.load(from: identityPath)
  }

  /// The endpoint and where it comes from: the enabled environment, a variable, the settings; nil when nobody said one.
  public var endpoint: (url: String, source: String)? {
    if let enabled { return (enabled.endpoint, "environment") }
    let variables = ProcessInfo.processInfo.environment
    for name in ["ZROK2_API_ENDPOINT", "ZROK_API_ENDPOINT"] {
      if let value = variables[name], !value.isEmpty { return (value, name) }
    }
    if let value = settings[Setting.apiEndpoint.member]?.stringValue, !value.isEmpty { return (value, "config") }
    return nil
  }

  /// The value of a setting; nil where it is not set.
  public func setting(_ setting: Setting) -> String? {
    switch settings[setting.member] {
    case .string(let text)?: text.isEmpty ? nil : text
    case .bool(let flag)?: flag ? "true" : "false"
    default: nil
    }
  }

  /// Sets a setting, and writes the settings' file.
  /// - Parameters:
  ///   - setting: which one.
  ///   - value: nil unsets.
  /// - Throws: `ShareError.badFile`.
  public mutating func set(_ setting: Setting, to value: String?) throws {
    switch setting {
    case .headless: settings[setting.member] = .bool(value == "true")
    default: settings[setting.member] = .string(value ?? "")
    }
    try prepare()
    try write(.object(settings), "config.json")
  }

  /// Records an enabling. The identity comes first: an environment without its key would be of no use.
  mutating func enable(_ enabled: Enabled, identity: String) throws {
    try prepare()
    do { try IdentityFile(parsing: Array(identity.utf8)).save(to: identityPath) } catch {
      throw ShareError.badFile(identityPath, reason: "\(error)")
    }
    try write(
      [
        "zrok_token": .string(enabled.token), "ziti_identity": .string(enabled.identity),
        "api_endpoint": .string(enabled.endpoint),
      ],
      "environment.json")
    self.enabled = enabled
  }

  /// Forgets the enabling; the settings stay.
  mutating func disable() {
    for file in [path("environment.json"), identityPath, agentEnrollmentPath] {
      try? FileManager.default.removeItem(atPath: file)
    }
    enabled = nil
  }

  // MARK: The agent of this machine

  private static let enrollmentVersion = "1"

  private var agentEnrollmentPath: String { path("agent-enrollment.json") }

  /// The service over which the share service may give orders to this machine's agent; nil where it may not. Read from
  /// its file at each call.
  /// - Throws: `ShareError.badFile`.
  public func agentEnrollment() throws -> String? {
    guard let file = try Self.read(agentEnrollmentPath) else { return nil }
    guard file["v"]?.stringValue == Self.enrollmentVersion, let token = file["token"]?.stringValue, !token.isEmpty
    else {
      throw ShareError.badFile(
        agentEnrollmentPath, reason: "it names no token, or has another version than \(Self.enrollmentVersion)")
    }
    return token
  }

  /// - Parameter token: nil forgets it.
  func setAgentEnrollment(_ token: String?) throws {
    guard let token else {
      guard FileManager.default.fileExists(atPath: agentEnrollmentPath) else { return }
      do { try FileManager.default.removeItem(atPath: agentEnrollmentPath) } catch {
        throw ShareError.badFile(agentEnrollmentPath, reason: "it cannot be removed: \(error.localizedDescription)")
      }
      return
    }
    try write(["v": .string(Self.enrollmentVersion), "token": .string(token)], "agent-enrollment.json")
  }

  private func prepare() throws {
    do throws(PrivateFile.Failure) {
      for directory in [directory, path("identities")] { try PrivateFile.makeDirectory(directory) }
    } catch { throw ShareError.badFile(error.path, reason: error.because) }
    if !FileManager.default.fileExists(atPath: path("metadata.json")) {
      try write(["v": .string(Self.metadataVersion)], "metadata.json")
    }
  }

  private func write(_ value: JSONValue, _ name: String) throws {
    let target = path(name)
    do throws(PrivateFile.Failure) { try PrivateFile.write(value.serialized(), to: target) } catch {
      throw ShareError.badFile(target, reason: "it cannot be written: \(error.because)")
    }
  }

  private static func read(_ path: String) throws -> JSONObject? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    guard let data = FileManager.default.contents(atPath: path), data.count <= IdentityFile.sizeLimit,
      let object = try? JSONValue(parsing: Array(FileText.withoutMark(data))).objectValue
    else { throw ShareError.badFile(path, reason: "it is no readable JSON object") }
    return object
  }
}
