import Foundation
import JSON
import Model
import NetworkFixture
import Synchronization

/// Virtual environments in `.build` with packages from PyPI, each made once, and the scripts of `python/` that run in
/// them.
enum PythonEnvironment {
  private static let environments = Mutex<[String: Task<String, any Error>]>([:])
  private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()

  /// - Parameters:
  ///   - name: of the directory.
  ///   - packages: arguments of `pip install`, call by call.
  /// - Returns: the interpreter. Fails, and does not skip, when PyPI cannot be reached.
  static func interpreter(_ name: String, installing packages: [[String]]) async throws -> String {
    try await environments.withLock { known in
      if let task = known[name] { return task }
      let task = Task { try await elsewhere { try make(name, packages) } }
      known[name] = task
      return task
    }.value
  }

  private static func make(_ name: String, _ packages: [[String]]) throws -> String {
    let directory = tests.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(
      ".build/\(name)"
    ).path
    let interpreter = directory + "/bin/python3"
    if !FileManager.default.fileExists(atPath: directory + "/ready") {
      try Zrok.run("/usr/bin/env", ["python3", "-m", "venv", "--clear", directory])
      for arguments in packages {
        try Zrok.run(interpreter, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"] + arguments)
      }
      _ = FileManager.default.createFile(atPath: directory + "/ready", contents: nil)
    }
    return interpreter
  }

  /// Runs a script to its end. - Returns: the JSON that it prints. What it reads as `SWIFTLET_TEST` is `input`: no
  /// secret stands among arguments.
  static func run(_ script: String, _ input: JSONValue = .null, interpreter: String = "/usr/bin/python3") async throws
    -> JSONValue
  {
    let path = tests.appendingPathComponent("python/" + script).path
    let text = try await elsewhere {
      try Zrok.run(
        interpreter, [path], environment: ["SWIFTLET_TEST": String(decoding: input.serialized(), as: UTF8.self)])
    }
    guard let value = try? JSONValue(parsing: Array(text.utf8)) else {
      throw Network.Failure("\(script) printed no JSON: \(text.suffix(3000))")
    }
    return value
  }

  /// On a thread that may wait.
  private static func elsewhere<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
  }
}
