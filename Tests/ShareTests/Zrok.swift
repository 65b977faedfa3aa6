import Foundation
import NetworkFixture
import Synchronization

/// zrok's SDKs from PyPI, in virtual environments of their own: the two generations bring modules of the same name.
/// Both run over the `openziti` wheel that exists for this system, which is older than they ask for (zrok.md 2.10).
enum Zrok {
  enum Generation: String, Sendable {
    case first = "1"
    case second = "2"

    var package: String { self == .first ? "zrok==1.1.11" : "zrok2==2.0.8" }
  }

  /// - Returns: the interpreter. Fails, and does not skip, when PyPI cannot be reached.
  static func interpreter(_ generation: Generation) async throws -> String {
    try await PythonEnvironment.interpreter(
      "zrok-sdk-\(generation.rawValue)",
      installing: [
        ["openziti==0.6.0", "urllib3", "python-dateutil", "pydantic", "typing-extensions"],
        ["--no-deps", generation.package],
      ])
  }

  @discardableResult
  static func run(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Network.Failure(
        "\(arguments.joined(separator: " ")) failed (\(process.terminationStatus)): \(text.suffix(2000))")
    }
    return text
  }

  /// One line of the script's report.
  struct Event: Sendable, Decodable {
    var event: String
    var ok: Bool?
    var token: String?
    var mode: String?
    var share: String?
    var endpoints: [String]?
    var shares: [String]?
    var names: [String]?
    var namespaces: [String]?
    var accesses: [String]?
    var error: String?
  }

  /// A running walk through the SDK.
  final class Walk: Sendable {
    private let process: Mutex<Process>
    private let events: AsyncThrowingStream<Event, any Error>
    private let input = Pipe()
    private let log = Mutex("")

    init(_ generation: Generation, endpoint: String, token: String, home: String) async throws {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: try await Zrok.interpreter(generation))
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "python/zrok_walk.py"
      ).path
      process.arguments = [script, generation.rawValue, endpoint, token]
      process.environment = [
        "HOME": home, "ZROK_API_ENDPOINT": endpoint, "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin",
      ]
      try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
      let (output, errors) = (Pipe(), Pipe())
      process.standardOutput = output
      process.standardError = errors
      process.standardInput = input
      self.process = Mutex(process)
      let (stream, continuation) = AsyncThrowingStream<Event, any Error>.makeStream()
      events = stream
      let reader = output.fileHandleForReading
      Thread.detachNewThread {
        var rest = Data()
        while case let data = reader.availableData, !data.isEmpty {
          rest.append(data)
          while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if let event = try? JSONDecoder().decode(Event.self, from: rest[rest.startIndex..<end]) {
              continuation.yield(event)
            }
            rest = Data(rest[rest.index(after: end)...])
          }
        }
        continuation.finish()
      }
      let complaints = errors.fileHandleForReading
      Thread.detachNewThread { [weak self] in
        while case let data = complaints.availableData, !data.isEmpty {
          self?.log.withLock { $0 += String(decoding: data, as: UTF8.self) }
        }
      }
      try process.run()
    }

    /// The next event of that name; a failure the script reports, its end, or a minute without it are errors.
    func event(_ name: String) async throws -> Event {
      try await withThrowingTaskGroup(of: Event.self) { group in
        group.addTask {
          for try await event in self.events {
            if event.event == name { return event }
            if event.event == "failed" {
              throw Network.Failure("before \(name): \(event.error ?? "")\n\(self.log.withLock { $0.suffix(3000) })")
            }
          }
          throw Network.Failure("the script ended before \(name)\n\(self.log.withLock { $0.suffix(3000) })")
        }
        group.addTask {
          try await Task.sleep(for: .seconds(60))
          throw Network.Failure("no event \(name) within a minute\n\(self.log.withLock { $0.suffix(3000) })")
        }
        defer { group.cancelAll() }
        guard let event = try await group.next() else { throw CancellationError() }
        return event
      }
    }

    func goOn() { try? input.fileHandleForWriting.write(contentsOf: Data("\n".utf8)) }

    func stop() {
      process.withLock { process in
        guard process.isRunning else { return }
        _ = Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
      }
    }

    deinit { stop() }
  }
}
