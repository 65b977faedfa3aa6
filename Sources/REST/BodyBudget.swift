import NIOConcurrencyHelpers

/// Bytes of request bodies that may be in memory at the same time: in total, and for one key, which is a source's address or an identity. Taken before a body is read, given
/// back when its request is answered.
final class BodyBudget: Sendable {
  private let total: Int
  private let perKey: Int
  private let state = NIOLockedValueBox((used: 0, byKey: [String: Int]()))

  init(total: Int, perKey: Int) {
    self.total = total
    self.perKey = perKey
  }

  /// Bytes that are taken now.
  var used: Int { state.withLockedValue { $0.used } }

  /// - Returns: what is taken as long as it is kept; nil when there is not that much left.
  func take(_ bytes: Int, for key: String) -> Share? {
    let isTaken = state.withLockedValue { state in
      let own = state.byKey[key] ?? 0
      guard bytes <= total - state.used, bytes <= perKey - own else { return false }
      state.used += bytes
      state.byKey[key] = own + bytes
      return true
    }
    return isTaken ? Share(budget: self, key: key, bytes: bytes) : nil
  }

  private func giveBack(_ bytes: Int, _ key: String) {
    state.withLockedValue { state in
      state.used -= bytes
      let left = (state.byKey[key] ?? 0) - bytes
      state.byKey[key] = left > 0 ? left : nil
    }
  }

  final class Share: Sendable {
    private let budget: BodyBudget
    private let key: String
    private let bytes: Int

    fileprivate init(budget: BodyBudget, key: String, bytes: Int) {
      self.budget = budget
      self.key = key
      self.bytes = bytes
    }

    deinit { budget.giveBack(bytes, key) }
  }
}
