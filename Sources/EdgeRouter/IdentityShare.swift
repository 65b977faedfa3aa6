import NIOCore
import Synchronization

/// How much of a router one identity may have, over all of its channels. What is beyond is refused, with a word that
/// says so; other identities never feel it.
public struct IdentityLimits: Sendable, Equatable {
  /// Channels open at a time. SDKs open one, ours one for each event loop.
  public var channels = 128
  /// Connects without an answer. A dial is answered within milliseconds, and within 35 s at worst; a public frontend
  /// dials for all of its visitors.
  public var dials = 256
  /// Circuits that it dialled and that are open, about 2 KB each with both ends: a frontend or a tunneler has one for
  /// each connection that it carries. What dials in circles, a service that dials itself for each of its diallers,
  /// comes to its end here.
  public var circuits = 16_384
  /// Services hosted at a time, about 2 KB each: as many as a channel has room for.
  public var binds = 65_536
  /// Bytes that wait for the identity's circuits, in both senses: sent by it before they were open, or not read by it.
  public var bytes = 16 * 1024 * 1024

  public init() {}
}

/// Bytes that wait, of everybody.
final class WaitingBytes: Sendable {
  /// Beyond it nobody's bytes wait: senders are paused instead. A router for a home network has a gigabyte.
  static let limit = 256 * 1024 * 1024

  private let count = Atomic<Int>(0)

  var now: Int { count.load(ordering: .relaxed) }
  var isFull: Bool { now >= Self.limit }
  func add(_ bytes: Int) { count.wrappingAdd(bytes, ordering: .relaxed) }
}

/// What one identity has of this router now.
final class IdentityShare: Sendable {
  enum Kind {
    case channel, dial, circuit, bind
  }

  /// One of what is counted, until it is given back, and at most for as long as it is referenced.
  final class Ticket: Sendable {
    private let share: IdentityShare
    private let kind: Kind
    private let isBack = Atomic<Bool>(false)

    fileprivate init(_ share: IdentityShare, _ kind: Kind) {
      self.share = share
      self.kind = kind
    }

    deinit { giveBack() }

    func giveBack() {
      guard !isBack.exchange(true, ordering: .relaxed) else { return }
      share.add(-1, to: kind)
    }
  }

  /// How long a circuit that was cut for not reading is held against its identity.
  private static let memory = TimeAmount.minutes(10)
  /// What is left of the grace at least.
  private static let shortestGrace = TimeAmount.seconds(1)

  let limits: IdentityLimits
  private let total: WaitingBytes
  private let channels = Atomic<Int>(0)
  private let dials = Atomic<Int>(0)
  private let circuits = Atomic<Int>(0)
  private let binds = Atomic<Int>(0)
  private let bytes = Atomic<Int>(0)
  private let cuts = Atomic<Int>(0)
  private let lastCut = Atomic<UInt64>(0)

  init(limits: IdentityLimits, total: WaitingBytes) {
    self.limits = limits
    self.total = total
  }

  /// - Returns: nil when the identity has all that it may have.
  func take(_ kind: Kind) -> Ticket? {
    let limit =
      switch kind {
      case .channel: limits.channels
      case .dial: limits.dials
      case .circuit: limits.circuits
      case .bind: limits.binds
      }
    guard add(1, to: kind) <= limit else {
      add(-1, to: kind)
      return nil
    }
    return Ticket(self, kind)
  }

  func has(_ kind: Kind) -> Int { add(0, to: kind) }

  /// - Returns: the new count.
  @discardableResult
  private func add(_ difference: Int, to kind: Kind) -> Int {
    switch kind {
    case .channel: channels.wrappingAdd(difference, ordering: .relaxed).newValue
    case .dial: dials.wrappingAdd(difference, ordering: .relaxed).newValue
    case .circuit: circuits.wrappingAdd(difference, ordering: .relaxed).newValue
    case .bind: binds.wrappingAdd(difference, ordering: .relaxed).newValue
    }
  }

  // MARK: Waiting bytes

  var waitingBytes: Int { bytes.load(ordering: .relaxed) }
  var isFull: Bool { waitingBytes >= limits.bytes || total.isFull }

  /// - Parameter count: negative when they wait no longer.
  func addWaiting(_ count: Int) {
    bytes.wrappingAdd(count, ordering: .relaxed)
    total.add(count)
  }

  // MARK: Readers who do not read

  /// The grace of the identity's circuits: halved for each that was cut lately, so that whoever dials again and again
  /// does not get the whole of it each time.
  /// - Parameter sinceLastCut: how long those who wait now have not had to wait for another such circuit; nil when
  ///   there was none. They wait no longer than that, except for an identity with nothing held against it, which has a
  ///   moment of its own.
  func grace(_ grace: TimeAmount, sinceLastCut: TimeAmount?) -> TimeAmount {
    let left = min(grace, sinceLastCut ?? grace)
    let shortest = min(grace, Self.shortestGrace)
    guard remembersCut else { return max(left, shortest) }
    let halved = max(.nanoseconds(grace.nanoseconds >> min(cuts.load(ordering: .relaxed), 16)), shortest)
    return min(halved, left)
  }

  func wasCut() {
    if !remembersCut { cuts.store(0, ordering: .relaxed) }
    cuts.wrappingAdd(1, ordering: .relaxed)
    lastCut.store(NIODeadline.now().uptimeNanoseconds, ordering: .relaxed)
  }

  private var remembersCut: Bool {
    let last = lastCut.load(ordering: .relaxed)
    return last > 0 && NIODeadline.now() - .uptimeNanoseconds(last) < Self.memory
  }

  /// Whether nothing is left to be remembered.
  var isIdle: Bool { has(.channel) + has(.dial) + has(.circuit) + has(.bind) + waitingBytes == 0 && !remembersCut }
}
