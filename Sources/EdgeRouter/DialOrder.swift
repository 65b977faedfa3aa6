import NIOCore
import Wire

/// What a Route asks of a host.
struct DialOrder: Sendable {
  let circuit: String
  /// Egress address of the circuit.
  let address: String
  let bindConnID: UInt32
  /// Of the service session the host bound with.
  let sessionID: String
  let peerData: [UInt32: [UInt8]]
  let dialer: (id: String?, name: String?)
  let timeout: TimeAmount
}

struct DialFailure: Error {
  let text: String
  let code: RouteErrorCode
}

enum DialOutcome: Sendable {
  /// With the key of this connection alone, if the host sent one.
  case success(publicKey: [UInt8]?)
  case failure(DialFailure)
}
