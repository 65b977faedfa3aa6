import Model
import NIOConcurrencyHelpers

/// What is known now of the edge routers: which are connected and where SDKs reach them. Runtime state; nothing here is
/// stored.
final class RouterDirectory: Sendable {
  struct Status: Sendable {
    /// The connection that the rest is of; later ones have greater numbers.
    var connection: UInt64 = 0
    var isOnline = false
    var hostname = ""
    /// Protocol to URL, `tls` to `tls://host:port`; empty while offline.
    var protocols: [String: String] = [:]
    var version: RouterVersionInfo?
    var syncStatus = "SYNC_DISCONNECTED"
    var connectedAt: Timestamp?
    /// Identities with an open connection to this router.
    var identities: Set<String> = []
  }

  private let state = NIOLockedValueBox<[String: Status]>([:])

  subscript(id: String) -> Status { state.withLockedValue { $0[id] ?? Status() } }
  func isOnline(_ id: String) -> Bool { self[id].isOnline }
  var online: Set<String> { state.withLockedValue { Set($0.lazy.filter(\.value.isOnline).map(\.key)) } }
  func isConnected(identity: String) -> Bool {
    state.withLockedValue { $0.values.contains { $0.isOnline && $0.identities.contains(identity) } }
  }

  func update(_ id: String, _ change: (inout Status) -> Void) {
    state.withLockedValue { change(&$0[id, default: Status()]) }
  }
  func forget(_ id: String) { state.withLockedValue { $0[id] = nil } }
}
