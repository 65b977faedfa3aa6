import Foundation
import JSON
import Testing

/// Python's `json` as the judge of reader and writer: `python/documents.py` makes documents from a seed and compares.
/// Its list `DIFFERENCES` has what the reader refuses and Python accepts, with the reasons; nothing else may differ.
@Suite("Random documents, against Python's json", .timeLimit(.minutes(5)))
struct PythonTests {
  private static let python = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    .map { "\($0)/python3" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("python/documents.py").path
  /// Documents for each seed.
  private static let count = 3000

  private struct Failure: Error { var text: String }

  @Test(
    "what one accepts the other accepts, with the same value, and reads what the other wrote",
    .enabled(if: Self.python != nil, "there is no python3 here"), arguments: 1...3)
  func agrees(seed: Int) throws {
    // A document may be empty, and so its line.
    let documents = try Self.run("make", seed).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    #expect(documents.count == Self.count)
    var answers = ""
    for line in documents {
      let document = try #require(Data(base64Encoded: String(line)))
      if let value = try? JSONValue(parsing: Array(document)) {
        answers += Data(value.serialized()).base64EncodedString() + "\n"
      } else {
        answers += "-\n"
      }
    }
    var lines = try Self.run("compare", seed, input: answers).split(separator: "\n")
    let last = try #require(lines.last)
    let summary = try JSONValue(parsing: String(last))
    lines.removeLast()
    #expect(lines.isEmpty, "\(lines.prefix(20).joined(separator: "\n"))")
    // A comparison of nothing would agree as well.
    #expect(summary["documents"]?.intValue == Self.count)
    #expect((summary["accepted"]?.intValue ?? 0) > Self.count / 2)
    #expect((summary["refused"]?.intValue ?? 0) > Self.count / 4)
    for (reason, number) in try #require(summary["explained"]?.objectValue) {
      #expect((number.intValue ?? 0) > 0, "no document with \(reason)")
    }
  }

  /// Runs the script to its end. - Returns: what it printed.
  private static func run(_ verb: String, _ seed: Int, input: String = "") throws -> String {
    // Through a file: a pipe would fill while nobody reads the other one.
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(input.utf8).write(to: file)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(python))
    process.arguments = [script, verb, "\(seed)", "\(count)"]
    process.standardInput = try FileHandle(forReadingFrom: file)
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failure(text: "\(verb) failed: \(text.suffix(1000))") }
    return text
  }
}
