import Dispatch
import Fabric
import Foundation
import Logging
import Model

/// A local file of the open circuits, outside the change-sets: after a restart routers ask about circuits by id only, and a controller that did not know
/// them would end them.
///
/// One JSON object a line, `{"open": …}` or `{"closed": id}`; rewritten at start. Losing its tail loses the circuits of that moment, not data.
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
  }

  private struct Line: Codable {
    var open: Open?
    var closed: String?
  }

  /// Circuits that were open when the last process ended.
  let restored: [Circuit]
  private let queue = DispatchQueue(label: "swiftlet.circuit-leases")
  private let file: FileHandle?

  /// - Parameter path: nil keeps no file.
  init(path: String?, logger: Logger) {
    guard let path else {
      restored = []
      file = nil
      return
    }
    var open: [String: Open] = [:]
    let decoder = JSONDecoder()
    for line in (try? PrivateFiles.read(path))?.split(separator: "\n") ?? [] {
      // A torn last line is a circuit that had just been opened or closed.
      guard let entry = try? decoder.decode(Line.self, from: Data(line.utf8)) else { continue }
      if let circuit = entry.open { open[circuit.id] = circuit }
      if let id = entry.closed { open[id] = nil }
    }
    restored = open.values.map {
      Circuit(
        id: $0.id, serviceID: $0.service, clientID: $0.client, hostID: $0.host, terminatorID: $0.terminator, path: $0.path,
        ingressAddress: $0.ingress,
        egressAddress: $0.egress, createdAt: Timestamp(millisecondsSinceEpoch: $0.at))
    }
    do {
      let lines = try open.values.map { String(decoding: try JSONEncoder().encode(Line(open: $0)), as: UTF8.self) + "\n" }
      try PrivateFiles.write(lines.joined(), to: path)
    } catch {
      logger.warning("circuits will not survive a restart: their lease file cannot be written", metadata: ["path": "\(path)", "error": "\(error)"])
    }
    file = FileHandle(forWritingAtPath: path)
    _ = try? file?.seekToEnd()
  }

  func opened(_ circuit: Circuit) {
    append(
      Line(
        open: Open(
          id: circuit.id, service: circuit.serviceID, client: circuit.clientID, host: circuit.hostID, terminator: circuit.terminatorID,
          path: circuit.path,
          ingress: circuit.ingressAddress, egress: circuit.egressAddress, at: circuit.createdAt.millisecondsSinceEpoch)))
  }

  func closed(_ id: String) { append(Line(closed: id)) }

  private func append(_ line: Line) {
    guard let file else { return }
    queue.async {
      guard var bytes = try? JSONEncoder().encode(line) else { return }
      bytes.append(UInt8(ascii: "\n"))
      try? file.write(contentsOf: bytes)
    }
  }

  /// Waits until everything is in the file.
  func flush() { queue.sync {} }
}
