public import WireSchemas

/// Usage of a circuit, as the controller believes it.
public struct UsageRecord: Sendable, Equatable {
  /// Names of the values: what the first router had from the dialler and sent to it, the last router from the host and
  /// to it (fabric-planes.md 3.6, management-and-model.md, usage events).
  public static let ingressReceived = "ingress.rx"
  public static let ingressSent = "ingress.tx"
  public static let egressReceived = "egress.rx"
  public static let egressSent = "egress.tx"

  public let circuit: String
  public let serviceID: String
  /// Bytes that reached the host, and bytes that came from it.
  public let toHost: Int
  public let fromHost: Int

  /// Usage as a router tells it. Nothing but numbers is taken from it: whose they are follows from the circuit.
  public struct Claim: Sendable, Equatable {
    public let circuit: String
    public let toHost: UInt64
    public let fromHost: UInt64

    public init(circuit: String, toHost: UInt64, fromHost: UInt64) {
      self.circuit = circuit
      self.toHost = toHost
      self.fromHost = fromHost
    }
  }

  /// Circuits that one message may tell of. Ours sends a thousand, OpenZiti's as many as had usage in the
  /// interval.
  private static let claimLimit = 100_000

  /// What the last routers of circuits count.
  public static func claims(_ message: MetricsMetricsMessage) -> [Claim] {
    message.usageCounters.lazy.flatMap(\.buckets).prefix(claimLimit).compactMap { circuit, bucket in
      func value(_ name: String) -> UInt64 { bucket.values[name] ?? bucket.values["usage." + name] ?? 0 }
      let claim = Claim(circuit: circuit, toHost: value(egressSent), fromHost: value(egressReceived))
      return claim.toHost > 0 || claim.fromHost > 0 ? claim : nil
    }
  }
}
