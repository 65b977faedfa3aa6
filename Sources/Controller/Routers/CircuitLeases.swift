import Dispatch
import Fabric
import Foundation
import JSON
import Logging
import Model
import Transport

/// A local file of the open circuits, outside the change-sets: after a restart routers ask about circuits by id only,
/// and a controller that did not know them would end them.
///
/// One JSON object a line, `{"open": …}` or `{"closed": id}`. It is written anew at the start and whenever it holds
/// more closed circuits than open ones, so it grows with what is open, not with what was. Then it is on the disk before
/// it takes the old one's place; the lines in between are handed to the kernel only: the end of the process loses the
/// last few at most, a power failure what the kernel had not written; either costs the circuits of that moment, never
/// data. What cannot be written (a full disk) is said once, and the whole file is tried again every few seconds.
final class CircuitLeases: Sendable {
  private struct Open: Codable {
    var id: String
    var service: String
    var client: String
    var host: String
    var terminator: String
    var path: [String]
    var ingress: String
    var egress: String
    var at: Int64

    init(_ circuit: Circuit) {
      (id, service, client, host) = (circuit.id, circuit.serviceID, circuit.clientID, circuit.hostID)
      (terminator, path) = (circuit.terminatorID, circuit.path)
      (ingress, egress, at) = (circuit.ingressAddress, circuit.egressAddress, circuit.createdAt.millisecondsSinceEpoch)
    }

    var circuit: Circuit {
      Circuit(
        id: id, serviceID: service, clientID: client, hostID: host, terminatorID: terminator, path: path,
        ingressAddress: ingress,
        egressAddress: egress, createdAt: Timestamp(millisecondsSinceEpoch: at))
    }
  }

  private struct Line: Codable {
    var open: Open?
    var closed: String?

    /// With its line feed.
    var bytes: [UInt8]? { (try? JSONValue(encoding: self)).map { $0.serialized() + [UInt8(ascii: "\n")] } }
  }

  /// Closed circuits that are left in the file at least before it is written anew.
  static let slack = 1024
  /// Of the file that is read at the start, in bytes: some millions of circuits.
  private static let sizeLimit = 1 << 30
  /// Between attempts to write a file that could not be written.
  private static let pause = Duration.seconds(5)

  /// Circuits that were open when the last process ended.
  let restored: [Circuit]
  private let queue = DispatchQueue(label: "swiftlet.circuit-leases")
  private let file: LeaseFile?

  /// - Parameter path: nil keeps no file.
  init(path: String?, logger: Logger) {
    guard let path else {
      restored = []
      file = nil
      return
    }
    var open: [String: Open] = [:]
    for line in (try? PrivateFile.text(path, limit: Self.sizeLimit))?.split(separator: "\n") ?? [] {
      // A torn last line is a circuit that had just been opened or closed.
      guard let entry = try? JSONValue(parsing: String(line), limits: .stored).decode(Line.self) else { continue }
      if let circuit = entry.open { open[circuit.id] = circuit }
      if let id = entry.closed { open[id] = nil }
    }
    restored = open.values.map(\.circuit)
    let file = LeaseFile(path: path, open: open.compactMapValues { Line(open: $0).bytes }, queue: queue, logger: logger)
    self.file = file
    queue.sync { file.rewrite() }
  }

  func opened(_ circuit: Circuit) {
    guard let file else { return }
    queue.async { if let line = Line(open: Open(circuit)).bytes { file.open(circuit.id, line) } }
  }

  func closed(_ id: String) {
    guard let file else { return }
    queue.async { if let line = Line(closed: id).bytes { file.close(id, line) } }
  }

  /// Waits until everything is in the file.
  func flush() { queue.sync {} }

  /// The file and what should be in it.
  // Only ever touched on `queue`: every method checks it.
  private final class LeaseFile: @unchecked Sendable {
    private let path: String
    private let queue: DispatchQueue
    private let logger: Logger
    /// Lines of the open circuits.
    private var open: [String: [UInt8]]
    private var closed = 0
    private var handle: FileHandle?
    /// When a write failed and was said.
    private var failedAt: ContinuousClock.Instant?

    init(path: String, open: [String: [UInt8]], queue: DispatchQueue, logger: Logger) {
      self.path = path
      self.open = open
      self.queue = queue
      self.logger = logger
    }

    func open(_ id: String, _ line: [UInt8]) {
      dispatchPrecondition(condition: .onQueue(queue))
      open[id] = line
      append(line)
    }

    func close(_ id: String, _ line: [UInt8]) {
      dispatchPrecondition(condition: .onQueue(queue))
      guard open.removeValue(forKey: id) != nil else { return }
      closed += 1
      if closed > max(open.count, CircuitLeases.slack), failedAt == nil { rewrite() } else { append(line) }
    }

    private func append(_ line: [UInt8]) {
      if let failedAt {
        // A line may have been torn: nothing can be added behind it.
        if ContinuousClock.now - failedAt > CircuitLeases.pause { rewrite() }
        return
      }
      do { try handle?.write(contentsOf: line) } catch { failed(error) }
    }

    func rewrite() {
      dispatchPrecondition(condition: .onQueue(queue))
      do {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(open.values.reduce(0) { $0 + $1.count })
        for line in open.values { bytes.append(contentsOf: line) }
        let fresh = FileHandle(fileDescriptor: try PrivateFile.replace(path, with: bytes), closeOnDealloc: true)
        try? handle?.close()
        handle = fresh
        closed = 0
        if failedAt != nil {
          logger.notice("the file of open circuits is written again", metadata: ["path": "\(path)"])
        }
        failedAt = nil
      } catch {
        failed(error)
      }
    }

    private func failed(_ error: any Error) {
      if failedAt == nil {
        logger.error(
          "the file of open circuits cannot be written; a controller that restarts now ends the circuits that are not in it. Make room on its disk",
          metadata: ["path": "\(path)", "error": "\(error)"])
      }
      failedAt = .now
    }
  }
}
