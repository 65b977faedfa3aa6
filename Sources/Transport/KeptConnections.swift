import NIOConcurrencyHelpers
import NIOCore

/// The connections of an `HTTPSClient` that stay open between requests, by origin (`https://host:port`), and who may
/// have one.
///
/// A few requests are under way at one origin at the same time, the others wait for their turn. A connection belongs to
/// the client's `ClientTLS`: one with another certificate is another client with connections of its own. One whose
/// address this machine has no more, because it changed its network, is not used again. They are closed with the last
/// copy of their client.
final class KeptConnections: Sendable {
  /// Servers of ours close a connection with a session after a minute without a request: it is left first, so that
  /// requests and ends do not cross. The SDK asks every 15 s.
  static let longestRest = TimeAmount.seconds(45)
  /// After so long both sides judge each other's certificates anew, however often something is asked.
  static let longestLife = TimeAmount.hours(1)
  /// A request that changes something takes a connection that rested no longer than this, else a new one: nobody could
  /// tell whether a server that ended it at that moment had the request. Servers of OpenZiti end theirs after 5 s.
  private static let freshness = Duration.seconds(3)
  /// After so long a rest it is looked whether the machine has the connection's address still.
  private static let addressIsKnown = Duration.seconds(1)
  /// Requests at the same time to one origin.
  private static let width = 4

  private struct Resting {
    let connection: HTTPConnection.Reference
    let since: ContinuousClock.Instant
  }

  private struct Waiting {
    let number: UInt64
    let promise: EventLoopPromise<Void>
  }

  private struct Place {
    /// The one that was used last stands last: it is used next, and the others may grow old.
    var resting: [Resting] = []
    var underWay = 0
    var waiting = CircularBuffer<Waiting>()
  }

  private struct State {
    var places: [String: Place] = [:]
    var isEnded = false
    var made = 0
    var number: UInt64 = 0
  }

  private let group: any EventLoopGroup
  private let state = NIOLockedValueBox(State())

  init(group: any EventLoopGroup) { self.group = group }

  deinit { end() }

  /// How many connections were made.
  var made: Int { state.withLockedValue { $0.made } }
  func count() { state.withLockedValue { $0.made += 1 } }

  // MARK: Turns

  /// Waits for a turn at an origin; whoever has it calls `leave`.
  /// - Throws: `TransportError.timedOut`.
  func enter(_ origin: String, _ timeout: TimeAmount) async throws {
    let waiting = state.withLockedValue { state -> Waiting? in
      guard state.places[origin, default: Place()].underWay >= Self.width else {
        state.places[origin, default: Place()].underWay += 1
        return nil
      }
      state.number += 1
      let waiting = Waiting(number: state.number, promise: group.any().makePromise())
      state.places[origin]?.waiting.append(waiting)
      return waiting
    }
    guard let waiting else { return }
    let deadline = waiting.promise.futureResult.eventLoop.scheduleTask(in: timeout) {
      guard self.givesUp(waiting.number, origin) else { return }
      waiting.promise.fail(TransportError.timedOut(what: "the answer of the server"))
    }
    defer { deadline.cancel() }
    try await waiting.promise.futureResult.get()
  }

  /// - Returns: false for one whose turn it is already.
  private func givesUp(_ number: UInt64, _ origin: String) -> Bool {
    state.withLockedValue { state in
      guard let index = state.places[origin]?.waiting.firstIndex(where: { $0.number == number }) else { return false }
      state.places[origin]?.waiting.remove(at: index)
      return true
    }
  }

  func leave(_ origin: String) {
    let next = state.withLockedValue { state -> Waiting? in
      if let next = state.places[origin]?.waiting.popFirst() { return next }
      state.places[origin]?.underWay -= 1
      return nil
    }
    next?.promise.succeed(())
  }

  // MARK: Rest

  /// A connection for a request that has its turn; nil where it needs a new one.
  func take(_ origin: String, for exchange: HTTPConnection.Exchange) -> HTTPConnection.Reference? {
    let now = ContinuousClock.now
    var addresses: Set<String>?
    while let last = state.withLockedValue({ $0.places[origin]?.resting.popLast() }) {
      let rested = now - last.since
      let isFresh = exchange.isSafe || rested < Self.freshness
      if isFresh, rested > Self.addressIsKnown, addresses == nil { addresses = Self.addresses() }
      if isFresh, Self.isHere(last.connection.channel.localAddress, addresses) { return last.connection }
      last.connection.channel.close(promise: nil)
    }
    return nil
  }

  /// On the connection's event loop.
  /// - Returns: false where nothing is kept any more.
  func put(_ connection: HTTPConnection.Reference, _ origin: String) -> Bool {
    state.withLockedValue { state in
      guard !state.isEnded else { return false }
      state.places[origin, default: Place()].resting.append(Resting(connection: connection, since: .now))
      return true
    }
  }

  /// A connection ended.
  func forget(_ id: ObjectIdentifier, _ origin: String) {
    state.withLockedValue { state -> Void in
      state.places[origin]?.resting.removeAll { $0.connection.id == id }
    }
  }

  /// Closes what rests, and keeps nothing more.
  func end() {
    let resting = state.withLockedValue { state -> [Resting] in
      state.isEnded = true
      defer { for origin in state.places.keys { state.places[origin]?.resting = [] } }
      return state.places.values.flatMap(\.resting)
    }
    for last in resting { last.connection.channel.close(promise: nil) }
  }

  // MARK: The machine's network

  /// The addresses of this machine; nil where the system does not tell.
  private static func addresses() -> Set<String>? {
    (try? System.enumerateDevices()).map { Set($0.compactMap { $0.address?.plainAddress }) }
  }

  private static func isHere(_ address: SocketAddress?, _ addresses: Set<String>?) -> Bool {
    guard let addresses, let plain = address?.plainAddress else { return true }
    // All of 127.0.0.0/8 is this machine's, and only one of it is listed.
    return plain.hasPrefix("127.") || addresses.contains(plain)
  }
}
