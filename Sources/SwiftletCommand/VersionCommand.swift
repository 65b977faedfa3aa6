import ArgumentParser
import Foundation

/// What this executable is.
enum Build {
  static let version = "v0.1.0"
  /// The release of OpenZiti whose peers are the measure of compatibility.
  static let speaks = "OpenZiti v2.1"

  static var system: String {
    #if os(macOS)
      let system = "darwin"
    #elseif os(Windows)
      let system = "windows"
    #else
      let system = "linux"
    #endif
    #if arch(arm64)
      return "\(system)/arm64"
    #else
      return "\(system)/amd64"
    #endif
  }

  static var summary: String { "swiftlet \(version)" }
}

struct VersionCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "Show the version.",
    discussion: """
      Examples:
        swiftlet version
        swiftlet version -v
      """)

  @Flag(name: .shortAndLong, help: "Also show system and compatibility.")
  var verbose = false

  func run() async throws {
    guard verbose else { return Terminal.output.line(Build.version) }
    Terminal.output.line(
      """
      Version:   \(Build.version)
      OS/Arch:   \(Build.system)
      Protocol:  \(Build.speaks)
      """)
  }
}
