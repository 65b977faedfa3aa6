import Foundation
import Model

@testable import Store

/// A directory of its own for a store in a file.
final class StoreDirectory: Sendable {
  let path: String
  var database: String { path + "/data/controller.db" }

  init() {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-store-\(UUID().uuidString)").path
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  func open() async throws -> Store { try await Store.open(path: database, now: start) }

  /// The files as they lie on disk now, as a controller that is killed leaves them, with the write-ahead log cut to
  /// `bytes`.
  func copyAsLeftByCrash(walBytes: Int? = nil) throws -> StoreDirectory {
    let copy = StoreDirectory()
    try FileManager.default.createDirectory(atPath: copy.path + "/data", withIntermediateDirectories: true)
    try Data(contentsOf: URL(fileURLWithPath: database)).write(to: URL(fileURLWithPath: copy.database))
    let wal = try Data(contentsOf: URL(fileURLWithPath: database + "-wal"))
    try wal.prefix(walBytes ?? wal.count).write(to: URL(fileURLWithPath: copy.database + "-wal"))
    return copy
  }

  var walBytes: Int { get throws { try Data(contentsOf: URL(fileURLWithPath: database + "-wal")).count } }
}

let start = Timestamp(secondsSinceEpoch: 1_800_000_000)
let context = ChangeContext(authorID: "admin", authorName: "Default Admin", source: "rest", requestID: "q1")

extension Store {
  /// One transaction of the test's operator.
  @discardableResult
  func change<R: Sendable>(at now: Timestamp = start, _ body: @escaping @Sendable (StoreTransaction) throws -> R)
    async throws -> Committed<R>
  {
    try await write(context, now: now, body)
  }
}

/// SplitMix64 with a fixed seed, so that a failure repeats.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
