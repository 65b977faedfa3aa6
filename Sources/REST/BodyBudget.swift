import NIOConcurrencyHelpers
import Transport

/// Bytes of request bodies that may be in memory at the same time: in total, and for one key, which is a source's
/// address or an identity. Taken before a body is read, given back when its request is answered.
///
/// What one key may have is its own business: beyond it is refused. The total is everybody's: where it is reached, the
/// oldest unfinished body of the key that has most of them gives way to one of a key that has fewer, for many sources
/// are cheap to have.
final class BodyBudget: Sendable {
  private struct Body {
    let key: String
    var bytes: Int
    let giveWay: @Sendable () -> Void
  }

  private struct State {
    var used = 0
    var number: UInt64 = 0
    var byKey: [String: Int] = [:]
    var bodies: [UInt64: Body] = [:]
    /// Those that are not whole yet.
    var unfinished = SourceRanking<UInt64>()

    mutating func remove(_ number: UInt64) -> Body? {
      guard let body = bodies.removeValue(forKey: number) else { return nil }
      unfinished.remove(number)
      add(-body.bytes, body.key)
      return body
    }

    mutating func add(_ bytes: Int, _ key: String) {
      used += bytes
      let own = (byKey[key] ?? 0) + bytes
      byKey[key] = own > 0 ? own : nil
    }
  }

  private let total: Int
  private let perKey: Int
  private let state = NIOLockedValueBox(State())

  init(total: Int, perKey: Int) {
    self.total = total
    self.perKey = perKey
  }

  /// Bytes that are taken now.
  var used: Int { state.withLockedValue { $0.used } }

  /// - Parameter giveWay: called once, on any thread, when another body needs the room; what was taken is then given
  ///   back already.
  /// - Returns: what is taken as long as it is kept; nil when there is not that much left.
  func take(_ bytes: Int, for key: String, giveWay: @escaping @Sendable () -> Void) -> Share? {
    let (number, displaced) = state.withLockedValue { state -> (UInt64?, [Body]) in
      let (hasRoom, displaced) = makeRoom(bytes, key, &state)
      guard hasRoom else { return (nil, displaced) }
      state.number += 1
      state.add(bytes, key)
      state.bodies[state.number] = Body(key: key, bytes: bytes, giveWay: giveWay)
      state.unfinished.add(state.number, source: key)
      return (state.number, displaced)
    }
    for body in displaced { body.giveWay() }
    return number.map { Share(budget: self, number: $0) }
  }

  private func makeRoom(_ bytes: Int, _ key: String, _ state: inout State) -> (Bool, [Body]) {
    var displaced: [Body] = []
    guard bytes <= total, bytes <= perKey - (state.byKey[key] ?? 0) else { return (false, []) }
    while bytes > total - state.used {
      guard state.unfinished.count(of: key) < state.unfinished.largestCount,
        let oldest = state.unfinished.oldestOfLargest,
        let body = state.remove(oldest)
      else { return (false, displaced) }
      displaced.append(body)
    }
    return (true, displaced)
  }

  private func grow(_ number: UInt64, to bytes: Int) -> Bool {
    let (isTaken, displaced) = state.withLockedValue { state -> (Bool, [Body]) in
      guard let body = state.bodies[number] else { return (false, []) }
      guard bytes > body.bytes else { return (true, []) }
      let more = bytes - body.bytes
      let (hasRoom, displaced) = makeRoom(more, body.key, &state)
      // It may have been the oldest itself.
      guard hasRoom, state.bodies[number] != nil else { return (false, displaced) }
      state.bodies[number]?.bytes = bytes
      state.add(more, body.key)
      return (true, displaced)
    }
    for body in displaced { body.giveWay() }
    return isTaken
  }

  final class Share: Sendable {
    private let budget: BodyBudget
    private let number: UInt64

    fileprivate init(budget: BodyBudget, number: UInt64) {
      self.budget = budget
      self.number = number
    }

    /// - Returns: false when there is not that much left, or it gave way.
    func grow(to bytes: Int) -> Bool { budget.grow(number, to: bytes) }
    /// The body is whole: it is worked on, and gives way no more.
    func finish() { budget.state.withLockedValue { $0.unfinished.remove(number) } }

    deinit { _ = budget.state.withLockedValue { $0.remove(number) } }
  }
}
