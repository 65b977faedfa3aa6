import Fabric
import Foundation
import Logging
import Model
import NIOConcurrencyHelpers
import Testing

@testable import Controller

@Suite("The file of open circuits")
struct CircuitLeaseTests {
  private struct Lines: LogHandler {
    let lines: NIOLockedValueBox<[String]>
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }
    func log(event: LogEvent) { lines.withLockedValue { $0.append("\(event.level) \(event.message)") } }
  }

  private let directory = NSTemporaryDirectory() + "leases-" + UUID().uuidString
  private var path: String { directory + "/circuits.jsonl" }
  private let lines = NIOLockedValueBox<[String]>([])

  init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }

  private func leases() -> CircuitLeases {
    let lines = lines
    return CircuitLeases(path: path, logger: Logger(label: "test") { _ in Lines(lines: lines) })
  }

  private func circuit(_ id: String) -> Circuit {
    Circuit(
      id: id, serviceID: "svc", clientID: "alice", hostID: "bob", terminatorID: "t1", path: ["r1"], ingressAddress: "i",
      egressAddress: "e",
      createdAt: .epoch)
  }

  private var size: Int { (try? Data(contentsOf: URL(fileURLWithPath: path)).count) ?? 0 }

  @Test("grows with what is open, not with what was")
  func bounded() {
    let leases = leases()
    leases.opened(circuit("kept"))
    leases.flush()
    let one = size
    for index in 0..<10_000 {
      leases.opened(circuit("c\(index)"))
      leases.closed("c\(index)")
    }
    leases.flush()
    // An open and a closed line for each that may be left.
    #expect(size < 2 * (CircuitLeases.slack + 2) * one)
    leases.closed("c1")
    leases.closed("never was")
    leases.flush()
    #expect(self.leases().restored == [circuit("kept")])
    #expect(size == one, "a start leaves what is open")
    #expect(lines.withLockedValue { $0 } == [])
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test("a torn or foreign line costs itself only")
  func torn() throws {
    let leases = leases()
    for id in ["a", "b"] { leases.opened(circuit(id)) }
    leases.flush()
    let file = try #require(FileHandle(forWritingAtPath: path))
    try file.seekToEnd()
    try file.write(contentsOf: Data("\u{0}\u{0}{\"open\":{\"id\":\"half".utf8))
    #expect(Set(self.leases().restored.map(\.id)) == ["a", "b"])
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test("what cannot be written is said once and stops nothing")
  func unwritable() throws {
    let leases = leases()
    leases.opened(circuit("kept"))
    leases.flush()
    try FileManager.default.removeItem(atPath: directory)
    for index in 0..<5000 {
      leases.opened(circuit("c\(index)"))
      leases.closed("c\(index)")
    }
    leases.flush()
    #expect(
      lines.withLockedValue { $0 }.count == 1
        && lines.withLockedValue { $0 }.first?.hasPrefix("error the file of open circuits") == true)
  }
}
