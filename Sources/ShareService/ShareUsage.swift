import Controller
import JSON
import Model
import Store
import SwiftletShare
import Synchronization

/// Usage of a share in one hour, by minute. Usage is activity: durable, of no interest to routers.
struct ShareUsageRow: Entity {
  static let kind = EntityKind(rawValue: "share-traffic")
  static let isIntent = false
  static let indexedMembers = [IndexedMember("shareToken"), IndexedMember("accountId"), IndexedMember("environmentId")]

  /// How long it is kept, in seconds.
  static let retention: Int64 = 31 * 24 * 3600
  static var retentionMinutes: Int { Int(retention / 60) }

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var shareToken: String
  var accountId: String
  var environmentId: String
  var backendMode: ShareOptions.Backend?
  /// Seconds since 1970 of the hour's beginning.
  var hour: Int
  /// Bytes of the hour's sixty minutes: from visitors, to visitors.
  var rx: [Int]
  var tx: [Int]

  static func id(_ token: String, hour: Int) -> String { "\(token)/\(hour)" }

  /// The minutes of the hour that have usage. Nothing that a row holds is taken for granted: rows outlive
  /// mistakes.
  var minutes: [(minute: Int, bytes: UsageMeter.Bytes)] {
    var used: [(minute: Int, bytes: UsageMeter.Bytes)] = []
    for minute in 0..<min(60, rx.count, tx.count) where rx[minute] > 0 || tx[minute] > 0 {
      used.append((minute, UsageMeter.Bytes(rx: max(0, rx[minute]), tx: max(0, tx[minute]))))
    }
    return used
  }

  mutating func add(rx more: Int, tx moreSent: Int, minute: Int) {
    func sixty(_ counts: [Int]) -> [Int] { (0..<60).map { counts.indices.contains($0) ? max(0, counts[$0]) : 0 } }
    (rx, tx) = (sixty(rx), sixty(tx))
    guard rx.indices.contains(minute) else { return }
    rx[minute] = rx[minute].adding(clamped: more)
    tx[minute] = tx[minute].adding(clamped: moreSent)
  }

  func validate() throws(ModelError) { try validateBase() }
}

/// Usage of a share in some time.
struct ShareUsageSample: Sendable, Equatable {
  /// Seconds since 1970.
  var time: Int
  var rx = 0
  var tx = 0

  var total: Int { rx.adding(clamped: tx) }

  mutating func add(rx: Int, tx: Int) {
    self.rx = self.rx.adding(clamped: rx)
    self.tx = self.tx.adding(clamped: tx)
  }

  /// Adds what a row counted from a time on, by whole minutes.
  mutating func add(_ row: ShareUsageRow, since start: Int) {
    for (minute, bytes) in row.minutes where row.hour.adding(clamped: minute * 60 + 60) > start {
      add(rx: bytes.rx, tx: bytes.tx)
    }
  }
}

extension Int {
  /// The sum, or the greatest or least number where it does not fit. Counts come from peers and from rows that an older
  /// version stored: a sum of them must never end the process.
  func adding(clamped other: Int) -> Int {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other < 0 ? .min : .max) : sum
  }
}

/// Counts shares' usage; the counts reach the store once a minute and when the service ends. Routers of a controller
/// in this process tell of everything, elsewhere the public frontend tells of what it carries.
final class UsageMeter: Sendable {
  /// Whose bytes they are: kept beyond the share's end, since routers tell of the last bytes later.
  struct Owner: Sendable {
    let token: String
    let accountID: String
    let environmentID: String
    let backendMode: ShareOptions.Backend

    init(_ share: ShareRow) {
      (token, accountID, environmentID, backendMode) = (
        share.token, share.accountId, share.environmentId, share.backendMode
      )
    }
  }

  struct Key: Hashable, Sendable {
    var service: String
    /// Since 1970.
    var minute: Int
  }

  struct Bytes: Sendable {
    var rx = 0
    var tx = 0

    mutating func add(rx: Int, tx: Int) {
      self.rx = self.rx.adding(clamped: rx)
      self.tx = self.tx.adding(clamped: tx)
    }
  }

  /// How long a router may wait before it tells, in seconds, with room.
  private static let patience: Int64 = 900

  private struct Owners {
    /// By service.
    var known: [String: Owner] = [:]
    /// Services of the shares that there are, by token.
    var services: [String: String] = [:]
    /// When the others ended, by service.
    var ended: [String: Timestamp] = [:]
  }

  private let counts = Mutex<[Key: Bytes]>([:])
  private let owners = Mutex(Owners())

  /// - Parameter service: id of the share's service. What belongs to no share is not counted.
  func add(service: String, rx: Int, tx: Int, now: Timestamp) {
    guard rx >= 0, tx >= 0, rx > 0 || tx > 0, owner(service) != nil else { return }
    let key = Key(service: service, minute: Int(now.secondsSinceEpoch / 60))
    counts.withLock { $0[key, default: Bytes()].add(rx: rx, tx: tx) }
  }

  func owner(_ service: String) -> Owner? { owners.withLock { $0.known[service] } }

  /// Notes a share as it is now. - Parameter share: nil when there is none of that token any more.
  func note(_ token: String, _ share: ShareRow?, now: Timestamp) {
    owners.withLock { owners in
      if let old = owners.services[token], old != share?.serviceId { owners.ended[old] = now }
      owners.services[token] = share?.serviceId
      guard let share else { return }
      owners.known[share.serviceId] = Owner(share)
      owners.ended[share.serviceId] = nil
    }
  }

  func forgetEnded(now: Timestamp) {
    owners.withLock { owners in
      for (service, end) in owners.ended where end.adding(seconds: Self.patience) <= now {
        owners.ended[service] = nil
        owners.known[service] = nil
      }
    }
  }

  func take() -> [Key: Bytes] {
    counts.withLock { counts in
      defer { counts = [:] }
      return counts
    }
  }

  func putBack(_ taken: [Key: Bytes]) {
    counts.withLock { counts in
      for (key, bytes) in taken { counts[key, default: Bytes()].add(rx: bytes.rx, tx: bytes.tx) }
    }
  }
}

extension ShareCore {
  /// Stores what was counted.
  /// - Returns: accounts with usage.
  @discardableResult
  func storeUsage() async throws -> Set<String> {
    let usage = usage
    let taken = usage.take()
    guard !taken.isEmpty else { return [] }
    do {
      try await network.write(author: "share service") { change in
        let store = change.store
        for (key, bytes) in taken {
          guard let owner = usage.owner(key.service) else { continue }
          let hour = key.minute / 60 * 3600
          let id = ShareUsageRow.id(owner.token, hour: hour)
          var row =
            try store.get(ShareUsageRow.self, id)
            ?? ShareUsageRow(
              id: id, shareToken: owner.token, accountId: owner.accountID, environmentId: owner.environmentID,
              hour: hour,
              rx: Array(repeating: 0, count: 60), tx: Array(repeating: 0, count: 60))
          row.backendMode = owner.backendMode
          row.add(rx: bytes.rx, tx: bytes.tx, minute: key.minute % 60)
          try store.put(row)
        }
      }
    } catch {
      usage.putBack(taken)
      throw error
    }
    return Set(taken.keys.compactMap { usage.owner($0.service)?.accountID })
  }

  func forgetOldUsage() async throws {
    let oldest = Int(network.now.secondsSinceEpoch - ShareUsageRow.retention)
    let old = try await network.read { try $0.all(ShareUsageRow.self).filter { $0.hour < oldest }.map(\.id) }
    guard !old.isEmpty else { return }
    try await network.write(author: "share service") { change in
      for id in old { try change.store.delete(ShareUsageRow.self, id) }
    }
  }
}

extension ShareViews {
  /// Usage of shares in the last five minutes, by minute; nothing where there was none.
  func activity(_ tokens: [String]) throws -> JSONValue {
    let last = Int(now.secondsSinceEpoch / 60)
    var sparks = (last - 4...last).map { ShareUsageSample(time: $0 * 60) }
    for token in tokens {
      for hour in Set(sparks.map { $0.time / 3600 * 3600 }) {
        guard let row = try reader.get(ShareUsageRow.self, ShareUsageRow.id(token, hour: hour)) else { continue }
        for (minute, bytes) in row.minutes {
          if let index = sparks.firstIndex(where: { $0.time == hour + minute * 60 }) {
            sparks[index].add(rx: bytes.rx, tx: bytes.tx)
          }
        }
      }
    }
    guard sparks.contains(where: { $0.total > 0 }) else { return [] }
    return .array(sparks.map { ["rx": JSONValue($0.rx), "tx": JSONValue($0.tx)] })
  }

  /// Whether a byte crossed in the last `seconds`.
  /// - Parameter field: an indexed member of usage rows.
  func hasUsage(_ field: String, _ value: String, seconds: Int) throws -> Bool {
    var sum = ShareUsageSample(time: 0)
    for row in try reader.all(ShareUsageRow.self, field: field, equals: value) {
      sum.add(row, since: Int(now.secondsSinceEpoch) - seconds)
    }
    return sum.total > 0
  }

  /// Samples of the last `seconds`: by minute for up to two hours, by hour for up to two days, by day beyond. Times
  /// without usage are there too, so that a plot shows them.
  /// - Parameter field: the indexed member of the rows that are summed, and its value.
  func metrics(scope: String, id: String, _ field: (name: String, value: String), seconds: Int) throws -> JSONValue {
    let step = seconds <= 7200 ? 60 : seconds <= 2 * 86_400 ? 3600 : 86_400
    let last = Int(now.secondsSinceEpoch) / step
    let first = last - max(1, min(seconds / step, 2000)) + 1
    var samples = (first...last).map { ShareUsageSample(time: $0 * step) }
    var hasUsage = false
    for row in try reader.all(ShareUsageRow.self, field: field.name, equals: field.value) {
      for (minute, bytes) in row.minutes {
        let index = row.hour.adding(clamped: minute * 60) / step - first
        guard samples.indices.contains(index) else { continue }
        samples[index].add(rx: bytes.rx, tx: bytes.tx)
        hasUsage = true
      }
    }
    return [
      "scope": .string(scope), "id": .string(id), "period": JSONValue(seconds),
      "samples": .array(
        !hasUsage
          ? []
          : samples.map { ["timestamp": JSONValue($0.time * 1000), "rx": JSONValue($0.rx), "tx": JSONValue($0.tx)] }),
    ]
  }
}
