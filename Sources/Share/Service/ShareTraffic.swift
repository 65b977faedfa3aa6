import Controller
import Model
import Store
import Synchronization

/// What crossed a share in one hour, by minute. Traffic is activity: durable, of no interest to routers.
struct ShareTrafficRow: Entity {
  static let kind = EntityKind(rawValue: "share-traffic")
  static let isIntent = false
  static let indexedMembers = [IndexedMember("shareToken"), IndexedMember("accountId"), IndexedMember("environmentId")]

  /// How long it is kept, in seconds.
  static let retention: Int64 = 31 * 24 * 3600

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var shareToken: String
  var accountId: String
  var environmentId: String
  /// Seconds since 1970 of the hour's beginning.
  var hour: Int
  /// Bytes of the hour's sixty minutes: from visitors, to visitors.
  var rx: [Int]
  var tx: [Int]

  static func id(_ token: String, hour: Int) -> String { "\(token)/\(hour)" }

  func validate() throws(ModelError) { try validateBase() }
}

/// Bytes that a share moved in some time.
struct TrafficSample: Sendable, Equatable {
  /// Seconds since 1970.
  var time: Int
  var rx = 0
  var tx = 0
}

/// Counts what the public frontend carries; its counts reach the store once a minute and when the service ends.
final class TrafficMeter: Sendable {
  struct Key: Hashable, Sendable {
    var token: String
    /// Since 1970.
    var minute: Int
  }

  struct Bytes: Sendable {
    var rx = 0
    var tx = 0
  }

  private let counts = Mutex<[Key: Bytes]>([:])

  func add(_ token: String, rx: Int, tx: Int, now: Timestamp) {
    guard rx + tx > 0 else { return }
    let key = Key(token: token, minute: Int(now.secondsSinceEpoch / 60))
    counts.withLock { counts in
      counts[key, default: Bytes()].rx += rx
      counts[key, default: Bytes()].tx += tx
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
      for (key, bytes) in taken {
        counts[key, default: Bytes()].rx += bytes.rx
        counts[key, default: Bytes()].tx += bytes.tx
      }
    }
  }
}

extension ShareDesk {
  /// Stores what was counted.
  func storeTraffic() async throws {
    let taken = traffic.take()
    guard !taken.isEmpty else { return }
    do {
      try await network.write(author: "share service") { change in
        let store = change.store
        for (key, bytes) in taken {
          let hour = key.minute / 60 * 3600
          let id = ShareTrafficRow.id(key.token, hour: hour)
          guard
            var row = try store.get(ShareTrafficRow.self, id)
              ?? store.named(ShareRow.self, key.token).map({
                ShareTrafficRow(
                  id: id, shareToken: key.token, accountId: $0.accountId, environmentId: $0.environmentId, hour: hour,
                  rx: Array(repeating: 0, count: 60), tx: Array(repeating: 0, count: 60))
              })
          else { continue }
          row.rx[key.minute % 60] += bytes.rx
          row.tx[key.minute % 60] += bytes.tx
          try store.put(row)
        }
      }
    } catch {
      traffic.putBack(taken)
      throw error
    }
  }

  func forgetOldTraffic() async throws {
    let oldest = Int(network.now.secondsSinceEpoch - ShareTrafficRow.retention)
    let old = try await network.read { try $0.all(ShareTrafficRow.self).filter { $0.hour < oldest }.map(\.id) }
    guard !old.isEmpty else { return }
    try await network.write(author: "share service") { change in for id in old { try change.store.delete(ShareTrafficRow.self, id) } }
  }
}

extension ShareViews {
  /// Samples of the last `seconds`: by minute for up to two hours, by hour for up to two days, by day beyond. Times without traffic are there too, so that a
  /// plot shows them.
  /// - Parameter field: the indexed member of the rows that are summed, and its value.
  func metrics(scope: String, id: String, _ field: (name: String, value: String), seconds: Int, now: Timestamp) throws -> JSONValue {
    let step = seconds <= 7200 ? 60 : seconds <= 2 * 86_400 ? 3600 : 86_400
    let last = Int(now.secondsSinceEpoch) / step
    let first = last - max(1, min(seconds / step, 2000)) + 1
    var samples = (first...last).map { TrafficSample(time: $0 * step) }
    var total = 0
    for row in try reader.all(ShareTrafficRow.self, field: field.name, equals: field.value) {
      for minute in 0..<min(60, row.rx.count, row.tx.count) where row.rx[minute] + row.tx[minute] > 0 {
        let index = (row.hour + minute * 60) / step - first
        guard samples.indices.contains(index) else { continue }
        samples[index].rx += row.rx[minute]
        samples[index].tx += row.tx[minute]
        total += row.rx[minute] + row.tx[minute]
      }
    }
    return [
      "scope": .string(scope), "id": .string(id), "period": JSONValue(seconds),
      "samples": .array(
        total == 0
          ? [] : samples.map { ["timestamp": JSONValue($0.time * 1000), "rx": JSONValue($0.rx), "tx": JSONValue($0.tx)] }),
    ]
  }
}
