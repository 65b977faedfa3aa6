public import NIOCore
import Synchronization
import Transport

/// What one share and one address may ask of the public frontend, so that a popular share or a greedy visitor leaves
/// the others their part (zrok.md 4.3: the hosted service has such limits in front of its frontends).
public struct FrontendLimits: Sendable, Equatable {
  /// Requests in a window; nil is unlimited.
  public var requestsPerShare: Int?
  public var requestsPerAddress: Int?
  public var window = TimeAmount.minutes(5)
  /// Requests of one share that are under way, WebSockets among them.
  public var concurrentPerShare: Int? = 4096
  /// How long a share may say nothing, before an answer and within it, until its visitor reads 504; nil: as long as
  /// both live.
  public var answerLimit: TimeAmount?

  public init() {}
}

/// Counts requests against `FrontendLimits`. One short lock a request; memory is bounded by the number of shares and
/// `addressesKept`.
final class FrontendQuota: Sendable {
  enum Admission: Sendable {
    /// To be kept while the request is under way.
    case admitted(Lease)
    /// The share's visitors together ask too much; seconds to wait.
    case shareBusy(retryAfter: Int)
    /// This visitor does.
    case addressBusy(retryAfter: Int)
  }

  /// A request under way; it counts until nobody holds this.
  final class Lease: Sendable {
    private let quota: FrontendQuota
    private let share: String

    fileprivate init(_ quota: FrontendQuota, _ share: String) {
      self.quota = quota
      self.share = share
    }

    deinit { quota.release(share) }
  }

  private struct Window {
    var start: NIODeadline
    var count = 0

    /// Seconds until the next one when there is no room, otherwise nil.
    mutating func take(_ limit: Int, _ length: TimeAmount, _ now: NIODeadline) -> Int? {
      if now - start >= length { self = Window(start: now) }
      guard count < limit else { return Int((length - (now - start)).nanoseconds / 1_000_000_000) + 1 }
      count += 1
      return nil
    }
  }

  private struct State {
    var underWay: [String: Int] = [:]
    var shares: [String: Window] = [:]
    var addresses: [String: Window] = [:]
    /// When windows that are over were last thrown away.
    var swept = NIODeadline.now()
  }

  private static let addressesKept = 65_536

  private let limits: FrontendLimits
  private let state = Mutex(State())

  init(_ limits: FrontendLimits) { self.limits = limits }

  func admit(share: String, address: String, now: NIODeadline = .now()) -> Admission {
    state.withLock { state in
      if now - state.swept >= limits.window {
        // Once a window: what is gone leaves nothing behind for long.
        state.swept = now
        state.shares = state.shares.filter { now - $0.value.start < limits.window }
        state.addresses = state.addresses.filter { now - $0.value.start < limits.window }
      }
      if let limit = limits.concurrentPerShare, state.underWay[share] ?? 0 >= limit { return .shareBusy(retryAfter: 1) }
      if let limit = limits.requestsPerAddress {
        let key = ClientNetwork.key(address)
        if state.addresses.count >= Self.addressesKept, state.addresses[key] == nil {
          // Nobody can be told apart any more; the share's own limit holds.
          state.addresses = [:]
        }
        if let wait = state.addresses[key, default: Window(start: now)].take(limit, limits.window, now) {
          return .addressBusy(retryAfter: wait)
        }
      }
      if let limit = limits.requestsPerShare {
        if let wait = state.shares[share, default: Window(start: now)].take(limit, limits.window, now) {
          return .shareBusy(retryAfter: wait)
        }
      }
      state.underWay[share, default: 0] += 1
      return .admitted(Lease(self, share))
    }
  }

  private func release(_ share: String) {
    state.withLock { state in
      let count = (state.underWay[share] ?? 1) - 1
      state.underWay[share] = count > 0 ? count : nil
    }
  }

  var isIdle: Bool { state.withLock { $0.underWay.isEmpty } }
}
