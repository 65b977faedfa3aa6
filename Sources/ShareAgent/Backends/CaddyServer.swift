import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Transport
import WebRelay

/// An installed Caddy that runs a person's Caddyfile behind a share. It listens on a socket in a directory of its own,
/// which stands where the file says `{{ .ZrokBindAddress }}` (zrok.md 1.3), and ends with us, whatever ends us.
final class CaddyServer: Sendable {
  private static let startLimit = Duration.seconds(15)
  private static let fileLimit = 1 << 20
  /// What the shell does: Caddy ends when our end of its input is gone. Its output is Caddy's alone, and ends with it.
  private static let script = """
    exec 3<&0
    caddy run --config "$1" --adapter caddyfile </dev/null 2>"$2" &
    exec >/dev/null
    read -r _ <&3
    kill $!
    """

  private let directory: String
  private let process: NIOLockedValueBox<(process: Process, pipe: Pipe)?>

  let connect: Connector

  /// Starts Caddy, and waits until it listens.
  /// - Throws: `ShareBackend.Mismatch` with Caddy's own words when it does not.
  init(caddyfile path: String, logger: Logger) async throws {
    guard let data = FileManager.default.contents(atPath: path), data.count <= Self.fileLimit,
      let text = String(validating: data, as: UTF8.self)
    else {
      throw ShareBackend.Mismatch(description: "\(path) is no Caddyfile: it cannot be read as text of at most 1 MiB")
    }
    let marker = /\{\{\s*\.ZrokBindAddress\s*\}\}/
    guard text.contains(marker) else {
      throw ShareBackend.Mismatch(
        description:
          "\(path) does not say where Caddy is reached; write 'bind {{ .ZrokBindAddress }}' in its http:// site")
    }
    // Short: the path of a socket has at most 107 bytes.
    directory = try PrivateFile.makeTemporaryDirectory(NSTemporaryDirectory() + "caddy-")
    let files = FileManager.default
    let (socket, config, log) = (directory + "/site", directory + "/Caddyfile", directory + "/log")
    do throws(PrivateFile.Failure) {
      try PrivateFile.writeTransient(Array(text.replacing(marker, with: "unix/" + socket).utf8), to: config)
    } catch { throw ShareBackend.Mismatch(description: "\(error)") }

    let (process, pipe, output) = (Process(), Pipe(), Pipe())
    let hasEnded = NIOLockedValueBox(false)
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", Self.script, "caddy", config, log]
    process.currentDirectoryURL = URL(fileURLWithPath: path).deletingLastPathComponent()
    // Its own administration listens where nobody else reaches it, and two Caddys do not meet there.
    process.environment = ProcessInfo.processInfo.environment.merging(["CADDY_ADMIN": "unix/" + directory + "/admin"]) {
      $1
    }
    process.standardInput = pipe
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    self.process = NIOLockedValueBox((process, pipe))
    connect = TCPConnector.make(socket: socket)
    output.fileHandleForReading.readabilityHandler = { handle in
      guard handle.availableData.isEmpty else { return }
      handle.readabilityHandler = nil
      hasEnded.withLockedValue { $0 = true }
      logger.info("Caddy ended", metadata: ["log": "\(log)"])
    }
    try process.run()
    let deadline = ContinuousClock.now + Self.startLimit
    while !files.fileExists(atPath: socket) {
      guard !hasEnded.withLockedValue({ $0 }), ContinuousClock.now < deadline else {
        let words = files.contents(atPath: log).map { String(decoding: $0.suffix(1000), as: UTF8.self) } ?? ""
        stop()
        throw ShareBackend.Mismatch(
          description: words.contains("not found")
            ? "the mode caddy needs Caddy on this machine: https://caddyserver.com, or apt-get install caddy"
            : "Caddy does not start with \(path): \(words)")
      }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  deinit { stop() }

  func stop() {
    let running = process.withLockedValue { process in
      defer { process = nil }
      return process
    }
    guard let running else { return }
    try? running.pipe.fileHandleForWriting.close()
    running.process.waitUntilExit()
    try? FileManager.default.removeItem(atPath: directory)
  }
}
