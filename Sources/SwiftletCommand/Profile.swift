import Foundation
import Model
import Transport

/// A saved login: where the controller is, whom it belongs to, the session and the roots that were trusted.
struct Profile: Codable, Sendable {
  /// Base of the management API, `https://host:port/edge/management/v1`.
  var url: String
  var username: String
  /// API session token, sent as `zt-session`.
  var token: String
  var loginTime: Timestamp
  /// The trusted roots, PEM.
  var roots: String
  /// Whose controllers bear SPIFFE ids of it; nil while the controller was never seen to bear one.
  var trustDomain: String?
}

/// All saved logins, in one private file.
struct ProfileStore: Codable, Sendable {
  var profiles: [String: Profile] = [:]
  var current = "default"

  /// `$SWIFTLET_CONFIG_DIR`, else `~/.config/swiftlet`.
  static var directory: String {
    let environment = ProcessInfo.processInfo.environment
    if let directory = environment["SWIFTLET_CONFIG_DIR"], !directory.isEmpty { return directory }
    let home = environment["HOME"] ?? FileManager.default.homeDirectoryForCurrentUser.path
    return home + "/.config/swiftlet"
  }

  static var path: String { directory + "/swiftlet.json" }

  static func load() throws -> ProfileStore {
    guard FileManager.default.fileExists(atPath: path) else { return ProfileStore() }
    do {
      return try JSONDecoder().decode(
        ProfileStore.self, from: Data(try PrivateFile.read(path, what: "the saved logins in")))
    } catch let failure as CommandFailure {
      throw failure
    } catch {
      throw CommandFailure(
        "the saved logins in \(path) cannot be understood", error,
        next: "remove the file and sign in again: swiftlet login HOST:PORT")
    }
  }

  func save() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try PrivateFile.write(Array(try encoder.encode(self)), to: Self.path)
  }

  /// - Parameter name: nil means the current one.
  func profile(_ name: String?) throws -> Profile {
    let name = name ?? current
    guard let profile = profiles[name] else {
      throw CommandFailure(
        "not signed in" + (name == "default" ? "" : " as profile \(name)"),
        next: "sign in first: swiftlet login HOST:PORT -u admin")
    }
    return profile
  }
}
