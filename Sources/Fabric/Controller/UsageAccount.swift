import Model

/// What routers may charge: bytes of circuits that end at that very router, and no more than the time since its last
/// report can carry.
struct UsageAccount: Sendable {
  /// 100 Gbit/s for a router, both ways together; beyond what a machine forwards today.
  static let bytesPerMillisecond = 12_500_000
  /// How long after its end a circuit is still charged, milliseconds: routers tell once in an interval, and of what
  /// happened while nobody listened.
  private static let grace: Int64 = 15 * 60_000
  /// Ended circuits that are kept for it, about 150 bytes each; the oldest go first.
  private static let endedLimit = 100_000
  /// A time without a report that is believed at most, milliseconds.
  private static let silenceLimit: Int64 = 30 * 24 * 3_600_000
  /// A report may come in several messages: what an interval left over is kept for this long, milliseconds.
  private static let interval: Int64 = 60_000

  private struct Credit {
    var bytes: Int
    var at: Timestamp
  }

  private struct Known {
    let serviceID: String
    let egressRouter: String?
    let createdAt: Timestamp
  }

  private var credits: [String: Credit] = [:]
  private var ended: [String: Known] = [:]
  /// Ids of `ended` in the order of their ends; `head` is the first that is left.
  private var order: [(id: String, end: Timestamp)] = []
  private var head = 0

  mutating func ended(_ circuit: Circuit, now: Timestamp) {
    ended[circuit.id] = Self.known(circuit)
    order.append((circuit.id, now))
    while order.count - head > Self.endedLimit { forgetOldest() }
  }

  mutating func forget(now: Timestamp) {
    while head < order.count, now.milliseconds(since: order[head].end) > Self.grace { forgetOldest() }
  }

  private mutating func forgetOldest() {
    ended[order[head].id] = nil
    head += 1
    if head > 1024, head * 2 > order.count {
      order.removeFirst(head)
      head = 0
    }
  }

  mutating func forget(router: String) { credits[router] = nil }

  private static func known(_ circuit: Circuit) -> Known {
    Known(serviceID: circuit.serviceID, egressRouter: circuit.path.last, createdAt: circuit.createdAt)
  }

  /// Both ends count the same bytes; the router of the host is asked.
  /// - Returns: what is believed, and whether it was less than what was claimed.
  mutating func charge(_ claims: [UsageRecord.Claim], by router: String, circuits: CircuitTable, now: Timestamp) -> (
    charged: [UsageRecord], isClamped: Bool
  ) {
    let own = claims.compactMap { claim -> (UsageRecord.Claim, Known)? in
      guard let known = circuits[claim.circuit].map(Self.known) ?? ended[claim.circuit], known.egressRouter == router
      else { return nil }
      return (claim, known)
    }
    guard let first = own.map(\.1.createdAt).min() else { return ([], false) }
    // A router that this process has not heard before tells of the time since its circuits began.
    var credit = credits[router] ?? Credit(bytes: Self.carried(in: 1000), at: first)
    let elapsed = now.milliseconds(since: credit.at)
    credit.bytes = min(credit.bytes + Self.carried(in: elapsed), Self.carried(in: max(elapsed, Self.interval)))
    // Also backwards: a clock that was ahead must not stop the count for as long as it was.
    credit.at = now
    var isClamped = false
    let charged = own.compactMap { claim, known -> UsageRecord? in
      // A second more than its age, since clocks have a grain.
      var left = min(credit.bytes, Self.carried(in: now.milliseconds(since: known.createdAt) + 1000))
      func take(_ bytes: UInt64) -> Int {
        let taken = min(Int(clamping: bytes), left)
        left -= taken
        credit.bytes -= taken
        if UInt64(taken) < bytes { isClamped = true }
        return taken
      }
      let (toHost, fromHost) = (take(claim.toHost), take(claim.fromHost))
      guard toHost > 0 || fromHost > 0 else { return nil }
      return UsageRecord(circuit: claim.circuit, serviceID: known.serviceID, toHost: toHost, fromHost: fromHost)
    }
    credits[router] = credit
    return (charged, isClamped)
  }

  /// Bytes that a time carries at most.
  private static func carried(in milliseconds: Int64) -> Int {
    Int(min(max(0, milliseconds), silenceLimit)) * bytesPerMillisecond
  }
}
