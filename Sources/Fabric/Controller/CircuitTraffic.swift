public import WireSchemas

/// What a router says a circuit moved in an interval (fabric-planes.md 3.6, management-and-model.md, usage events).
public struct CircuitTraffic: Sendable, Equatable {
  /// Names of the values: what the first router had from the dialler and sent to it, the last router from the host and to it.
  public static let ingressReceived = "ingress.rx"
  public static let ingressSent = "ingress.tx"
  public static let egressReceived = "egress.rx"
  public static let egressSent = "egress.tx"

  /// Nothing moves more in an interval; a larger figure is a mistake.
  private static let limit: UInt64 = 1 << 50

  public let circuit: String
  public let serviceID: String
  /// Bytes that reached the host, and bytes that came from it.
  public let toHost: Int
  public let fromHost: Int

  /// What the last routers of circuits count; circuits whose service nobody names are left out.
  public static func parse(_ message: MetricsMetricsMessage) -> [CircuitTraffic] {
    message.usageCounters.flatMap(\.buckets).compactMap { circuit, bucket in
      guard let service = bucket.tags["serviceId"], !service.isEmpty else { return nil }
      func value(_ name: String) -> Int { Int(min(bucket.values[name] ?? bucket.values["usage." + name] ?? 0, limit)) }
      let traffic = CircuitTraffic(circuit: circuit, serviceID: service, toHost: value(egressSent), fromHost: value(egressReceived))
      return traffic.toHost + traffic.fromHost > 0 ? traffic : nil
    }
  }
}
