import NIOConcurrencyHelpers
public import NIOCore

/// What a listener gives to peers that have proven nothing yet: so many bytes, so much time, so many connections.
public struct StrangerLimits: Sendable {
  /// From accept to the end of the TLS handshake.
  public var handshakeTimeout: TimeAmount = .seconds(5)
  /// Bytes a peer may send before its handshake is complete; a chain of four RSA-4096 certificates takes a quarter of
  /// them.
  public var handshakeBytes = 32 * 1024
  /// Connections open at the same time, whoever has them, without those that rest.
  public var connections = 20_000
  /// Connections that rest at the same time: their client has proven who it is, and asks nothing at the moment. One
  /// more takes the place of the one that has rested the longest, whose client asks on a new one. Programs of ours keep
  /// one each, of about 40 KB. All connections together never have more than three quarters of the descriptors that the
  /// process may open.
  public var resting = 100_000
  /// Connections at the same time that have not said anything whole yet: no hello, no head of a request. Each costs
  /// about 40 KB of TLS.
  public var unheard = 1_000
  /// Connections of one source that have proven nothing; those with a session, or with an accepted hello, do not count.
  /// An office behind one address has them for a moment each, the visitors of a public frontend for as long as they
  /// stay.
  public var perSource = 2_048
  /// Connections of one identity that has proven itself by sessions: where it has more, its oldest gives way to its
  /// newest. Devices that share an identity have a few each.
  public var perIdentity = 1_024
  /// Addresses of proxies, without ports: what comes from there comes from many, and has no share by source. An IPv6
  /// address stands for its /64.
  public var trustedProxies: [String] = []

  public init() {}
}

/// Who may connect: counts the connections of one listener, in total and by source (`ClientNetwork.key`), until each
/// has proven who it is.
///
/// Where a limit is reached the newcomer is not turned away, for it may be the honest one: a connection that has said
/// nothing gives way, the oldest of the source that has most of them. Connections that have spoken give way only to a
/// source that has fewer. Those of clients that have proven who they are count for little while they rest, and give way
/// to each other.
package final class StrangerAdmission: Sendable {
  private struct State {
    var number: UInt64 = 0
    var open = 0
    /// Strangers that have said nothing whole.
    var unheard = SourceRanking<UInt64>()
    /// All strangers, the unheard among them.
    var strangers = SourceRanking<UInt64>()
    /// Those that are strangers no more, by identity, where their protocol has no other bound for it.
    var proven = SourceRanking<UInt64>()
    /// Those among the proven on which nothing is asked.
    var resting = ArrivalOrder<UInt64>()
    var channels: [UInt64: any Channel] = [:]
  }

  private let limits: StrangerLimits
  private let descriptors: Int
  private let connections: Int
  private let proxies: Set<String>
  private let state = NIOLockedValueBox(State())

  package init(_ limits: StrangerLimits) {
    self.limits = limits
    descriptors = DescriptorLimit.raised() / 4 * 3
    connections = min(limits.connections, descriptors)
    proxies = Set(limits.trustedProxies.map { ClientNetwork.key($0) })
  }

  var openConnections: Int { state.withLockedValue { $0.open } }
  var strangers: Int { state.withLockedValue { $0.strangers.count } }

  /// Counts a connection until it closes.
  /// - Returns: nil when there is no room: the caller closes the connection, as a failed initializer of NIO's
  ///   asynchronous bootstrap does not.
  package func admit(_ channel: any Channel) -> Stranger? {
    let address = channel.remoteAddress?.plainAddress.map { ClientNetwork.key($0) } ?? "local"
    let (number, source, displaced) = state.withLockedValue { state -> (UInt64?, String, [any Channel]) in
      state.number += 1
      // Behind a proxy each connection is a source of its own.
      let source = proxies.contains(address) ? "\(address)#\(state.number)" : address
      var displaced: [any Channel] = []
      if state.strangers.count(of: source) >= limits.perSource {
        guard let oldest = state.unheard.oldest(of: source) else { return (nil, source, []) }
        displaced += drop(oldest, &state)
      }
      if state.unheard.count >= limits.unheard {
        guard let oldest = state.unheard.oldestOfLargest else { return (nil, source, displaced) }
        displaced += drop(oldest, &state)
      }
      let isFull = state.open - state.resting.count >= connections
      if isFull || state.open >= descriptors {
        var oldest = state.unheard.oldestOfLargest
        if oldest == nil, !isFull { oldest = state.resting.first }
        if oldest == nil, state.strangers.count(of: source) + 1 < state.strangers.largestCount {
          oldest = state.strangers.oldestOfLargest
        }
        guard let oldest else { return (nil, source, displaced) }
        displaced += drop(oldest, &state)
      }
      let number = state.number
      state.open += 1
      state.unheard.add(number, source: source)
      state.strangers.add(number, source: source)
      state.channels[number] = channel
      return (number, source, displaced)
    }
    Self.abort(displaced)
    guard let number else { return nil }
    channel.closeFuture.whenComplete { _ in
      self.state.withLockedValue { state in
        if state.channels[number] != nil { state.open -= 1 }
        Self.forget(number, &state)
      }
    }
    return Stranger(number: number, source: source, admission: self)
  }

  private func drop(_ number: UInt64, _ state: inout State) -> [any Channel] {
    guard let channel = state.channels[number] else { return [] }
    state.open -= 1
    Self.forget(number, &state)
    return [channel]
  }

  private static func forget(_ number: UInt64, _ state: inout State) {
    state.unheard.remove(number)
    state.strangers.remove(number)
    state.proven.remove(number)
    state.resting.remove(number)
    state.channels[number] = nil
  }

  fileprivate func heard(_ number: UInt64) { state.withLockedValue { $0.unheard.remove(number) } }

  fileprivate func proven(_ number: UInt64, _ identity: String?) {
    let displaced = state.withLockedValue { state -> [any Channel] in
      guard state.channels[number] != nil else { return [] }
      state.unheard.remove(number)
      state.strangers.remove(number)
      guard let identity else { return [] }
      state.proven.add(number, source: identity)
      guard state.proven.count(of: identity) > limits.perIdentity, let oldest = state.proven.oldest(of: identity) else {
        return []
      }
      return drop(oldest, &state)
    }
    Self.abort(displaced)
  }

  fileprivate func rests(_ number: UInt64) -> Bool {
    let (rests, displaced) = state.withLockedValue { state -> (Bool, [any Channel]) in
      guard state.channels[number] != nil, !state.strangers.contains(number) else { return (false, []) }
      state.resting.append(number)
      guard state.resting.count > limits.resting, let oldest = state.resting.first else { return (true, []) }
      return (true, drop(oldest, &state))
    }
    Self.abort(displaced)
    return rests
  }

  fileprivate func works(_ number: UInt64) { state.withLockedValue { $0.resting.remove(number) } }

  private static func abort(_ channels: [any Channel]) {
    for channel in channels { channel.eventLoop.execute { channel.abort() } }
  }
}

/// An accepted connection in the books of its listener's admission.
public struct Stranger: Sendable {
  /// Whom it counts for: an address (`ClientNetwork.key`); behind a trusted proxy each connection is a source of its
  /// own.
  public let source: String
  private let number: UInt64
  private let admission: StrangerAdmission

  init(number: UInt64, source: String, admission: StrangerAdmission) {
    self.number = number
    self.source = source
    self.admission = admission
  }

  /// It said something whole: a hello, or the head of a request.
  public func heard() { admission.heard(number) }
  /// It proved who it is, and is no stranger any more.
  /// - Parameter identity: counts its connections, where nothing else does.
  public func proven(as identity: String? = nil) { admission.proven(number, identity) }

  /// Nothing is asked on it until `works`: nothing is lost when it gives way.
  /// - Returns: false for a connection that has proven nothing, which does not rest: it has to hurry.
  public func rests() -> Bool { admission.rests(number) }
  /// Something is asked on it.
  public func works() { admission.works(number) }
}
