import Controller
import Foundation
import NetworkFixture
import Synchronization
import Testing

/// The OpenZiti SDK from PyPI (`openziti` 0.6.0 with the C SDK 0.29.3), as its users run it: scripts under `python/` in
/// a virtual environment.
struct PythonSDK: Sendable {
  /// One line of a script's report.
  struct Event: Sendable, Decodable {
    var event: String
    var ok: Bool?
    var error: String?
    var code: Int?
    var controller: String?
    var received: Int?
    var status: Int?
    var body: String?
    var reason: String?
    var bytes: Int?
    var peer: String?
    var parts: [String]?
    var services: [String]?
  }

  /// A running script.
  final class Script: Sendable {
    private let process: Mutex<Process>
    private let events: AsyncStream<Event>
    private let seen = Mutex<AsyncStream<Event>.Iterator?>(nil)
    let log: Mutex<String>
    private let input = Pipe()

    /// Writes a line to the script's standard input.
    func tell(_ line: String) { try? input.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8)) }

    init(_ process: Process) throws {
      let output = Pipe()
      let errors = Pipe()
      process.standardOutput = output
      process.standardError = errors
      process.standardInput = input
      let (stream, continuation) = AsyncStream<Event>.makeStream()
      events = stream
      log = Mutex("")
      self.process = Mutex(process)
      let rest = Mutex(Data())
      output.fileHandleForReading.readabilityHandler = { handle in
        let data = handle.availableData
        if data.isEmpty {
          handle.readabilityHandler = nil
          continuation.finish()
          return
        }
        rest.withLock { rest in
          rest.append(data)
          while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if let event = try? JSONDecoder().decode(Event.self, from: rest[rest.startIndex..<end]) {
              continuation.yield(event)
            }
            rest = Data(rest[rest.index(after: end)...])
          }
        }
      }
      errors.fileHandleForReading.readabilityHandler = { [weak self] handle in
        let data = handle.availableData
        if data.isEmpty { handle.readabilityHandler = nil }
        self?.log.withLock { $0 += String(decoding: data, as: UTF8.self) }
      }
      try process.run()
    }

    /// The next event of that name; nil when the script ended without it. A minute without it is a hang.
    func event(_ name: String) async throws -> Event? {
      try await withThrowingTaskGroup(of: Event?.self) { group in
        group.addTask {
          for await event in self.events where event.event == name { return event }
          return nil
        }
        group.addTask {
          try await Task.sleep(for: .seconds(60))
          throw Network.Failure(
            "no event \(name) of a Python script within a minute; its log:\n\(self.log.withLock { $0.suffix(4000) })")
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
      }
    }

    /// Ends the script. libziti's own thread outlives a polite request, so there is none.
    func stop() {
      process.withLock { process in
        guard process.isRunning else { return }
        _ = Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
      }
    }

    deinit { stop() }
  }

  let interpreter: String
  let scripts: String

  /// Makes the virtual environment once; later runs find it. Fails, and does not skip, when PyPI cannot be reached:
  /// these tests are the measure.
  static let shared = Task<PythonSDK, any Error> {
    let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let scripts = here.appendingPathComponent("python").path
    let environment = here.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(
      ".build/python-sdk"
    ).path
    let interpreter = environment + "/bin/python3"
    if !FileManager.default.fileExists(atPath: environment + "/ready") {
      try await run("/usr/bin/env", ["python3", "-m", "venv", "--clear", environment])
      try await run(
        interpreter,
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", scripts + "/requirements.txt"])
      _ = FileManager.default.createFile(atPath: environment + "/ready", contents: nil)
    }
    return PythonSDK(interpreter: interpreter, scripts: scripts)
  }

  /// Runs a program to its end. - Returns: what it printed.
  @discardableResult
  static func run(_ executable: String, _ arguments: [String]) async throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Network.Failure(
        "\(arguments.joined(separator: " ")) failed (\(process.terminationStatus)): \(text.suffix(2000))")
    }
    return text
  }

  func start(_ script: String, _ arguments: [String]) throws -> Script {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: interpreter)
    process.arguments = [scripts + "/" + script] + arguments
    var environment = ProcessInfo.processInfo.environment
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["ZITI_LOG"] = environment["SWIFTLET_PYTHON_LOG"] ?? "2"
    process.environment = environment
    return try Script(process)
  }

  /// Enrolls a new identity. - Returns: the identity file.
  func enroll(_ network: Network, _ name: String, roles: [String] = []) async throws -> String {
    let invitation = try await network.invite(name, roles: roles)
    return try await enroll(jwt: invitation.jwt, in: network.directory, name)
  }

  func enroll(jwt: String, in directory: String, _ name: String) async throws -> String {
    let token = directory + "/\(name).jwt"
    let file = directory + "/\(name).json"
    try Data(jwt.utf8).write(to: URL(fileURLWithPath: token))
    let script = try start("enroll.py", [token, file])
    guard let event = try await script.event("enrolled"), event.ok == true else {
      throw Network.Failure("Python did not enroll \(name): \(script.log.withLock { $0.suffix(2000) })")
    }
    return file
  }
}
