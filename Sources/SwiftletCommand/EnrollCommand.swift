import ArgumentParser
import Foundation
import Swiftlet
import Transport

struct EnrollCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enroll", abstract: "Turn an enrollment token into an identity file with key and certificate.",
    discussion: """
      The key is made on this machine and never leaves it. A token is good for one enrollment.

      Examples:
        swiftlet enroll alice.jwt
        swiftlet enroll alice.jwt -o /etc/swiftlet/alice.json
      """)

  @Argument(help: ArgumentHelp("File with the token.", valueName: "jwt-file"))
  var tokenFile: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where to write the identity. Default: the token's name with .json.", valueName: "file"))
  var output: String?

  @Flag(help: "Replace an identity file that exists.")
  var force = false

  func run() async throws {
    let token = String(decoding: try PrivateFile.read(tokenFile, what: "the token", limit: 64 << 10), as: UTF8.self)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let target = output ?? (tokenFile.hasSuffix(".jwt") ? String(tokenFile.dropLast(4)) : tokenFile) + ".json"
    guard force || !FileManager.default.fileExists(atPath: target) else {
      throw CommandFailure("\(target) exists", next: "name another file with -o, or replace it with --force")
    }
    // Before the token is used up: a directory that cannot be written must not cost it.
    try PrivateFile.makeDirectory(PrivateFile.directory(of: target))
    let identity: IdentityFile
    do {
      identity = try await Spinner.during("enrolling") { try await IdentityFile.enroll(jwt: token) }
    } catch {
      throw CommandFailure("cannot enroll with \(tokenFile)", error)
    }
    try identity.save(to: target)
    Terminal.output.line("Enrolled. Identity written to \(target)")
  }
}
