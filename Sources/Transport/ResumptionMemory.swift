import NIOConcurrencyHelpers
import PKI
import X509

/// The intermediate certificates (helpers) that peers sent beside their leaf in full handshakes, by the leaf's
/// fingerprint. It holds no verdicts: whoever completes a handshake is remembered, also with a certificate of its own
/// making. So what it holds is bounded in bytes, and where there is no room the oldest entry of the source that has
/// most of them goes: whoever makes up leaves drives out only its own.
final class ResumptionMemory: Sendable {
  /// Bytes of certificates: four thousand leaves with one helper of a kilobyte, as a network's own SDKs have them.
  /// Parsed they hold about as much again.
  static let limit = 4 << 20
  /// Bytes of helpers of one leaf: four of RSA-4096. Whoever sends more makes a full handshake each time.
  static let perLeaf = 8 << 10

  private struct Entry {
    let intermediates: [Certificate]
    let bytes: Int
  }

  private struct State {
    var entries: [String: Entry] = [:]
    var order = SourceRanking<String>()
    var bytes = 0

    mutating func forget(_ fingerprint: String) {
      guard let entry = entries.removeValue(forKey: fingerprint) else { return }
      order.remove(fingerprint)
      bytes -= entry.bytes
    }
  }

  private let state = NIOLockedValueBox(State())

  /// Bytes held now.
  var bytes: Int { state.withLockedValue { $0.bytes } }

  func remember(_ fingerprint: String, _ intermediates: [Certificate], source: String) {
    guard !intermediates.isEmpty else { return }
    let bytes = intermediates.reduce(0) { $0 + $1.derBytes.count }
    guard bytes <= Self.perLeaf else { return }
    state.withLockedValue { state in
      state.forget(fingerprint)
      state.entries[fingerprint] = Entry(intermediates: intermediates, bytes: bytes)
      state.order.add(fingerprint, source: source)
      state.bytes += bytes
      while state.bytes > Self.limit, let oldest = state.order.oldestOfLargest { state.forget(oldest) }
    }
  }

  func intermediates(of fingerprint: String) -> [Certificate] {
    state.withLockedValue { $0.entries[fingerprint]?.intermediates ?? [] }
  }
}
