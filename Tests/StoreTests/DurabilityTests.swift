import Foundation
import JSON
import Model
import Testing

@testable import Store

@Suite("Durability", .timeLimit(.minutes(5)))
struct DurabilityTests {
  private struct Abort: Error {}

  private func fill(_ store: Store, _ numbers: ClosedRange<Int>) async throws {
    for number in numbers { try await store.change { try $0.put(Identity(id: "i\(number)", name: "n\(number)")) } }
  }

  /// Whether entities and change-sets of `fill` tell the same story, and how long it is.
  private func consistentLength(_ store: Store) async throws -> Int {
    let (index, identities, changeSets) = try await store.read { reader in
      (try reader.currentIndex(), try reader.all(Identity.self), try reader.changeSets(after: 0))
    }
    #expect(Set(identities.map(\.id)) == Set((0..<Int(index)).map { "i\($0 + 1)" }))
    #expect(changeSets?.map(\.index) == (0..<index).map { $0 + 1 })
    return identities.count
  }

  @Test("what was committed is there again, under the same timeline")
  func reopen() async throws {
    let directory = StoreDirectory()
    let first = try await directory.open()
    try await fill(first, 1...3)
    let timeline = first.timelineID
    try first.close()
    let second = try await directory.open()
    #expect(second.timelineID == timeline)
    #expect(try await consistentLength(second) == 3)
    try second.close()
  }

  @Test("an aborted transaction leaves nothing, neither now nor after reopening")
  func aborted() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    try await fill(store, 1...2)
    await #expect(throws: Abort.self) {
      try await store.change { transaction in
        try transaction.put(Identity(id: "i3", name: "n3"))
        try transaction.delete(Identity.self, "i1")
        #expect(try transaction.count(.identities) == 2)
        throw Abort()
      }
    }
    // A refusal in the middle takes back what came before it.
    await #expect(throws: StoreError.self) {
      try await store.change { transaction in
        try transaction.put(Identity(id: "i4", name: "n4"))
        try transaction.put(Identity(id: "i5", name: "n1"))
      }
    }
    #expect(try await consistentLength(store) == 2)
    let killed = try directory.copyAsLeftByCrash()
    for directory in [directory, killed] {
      if directory === killed { try store.close() }
      let again = try await directory.open()
      #expect(try await consistentLength(again) == 2)
      // The number that the aborted transactions would have had is the next one's.
      #expect(try await again.change { try $0.put(Identity(id: "i3", name: "n3")) }.changeSet?.index == 3)
      try again.close()
    }
  }

  @Test("a crash at any point of writing leaves the change-sets up to some number, whole")
  func crash() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    try await fill(store, 1...6)
    let size = try directory.walBytes
    var lengths: [Int] = []
    for step in 0...24 {
      let left = try directory.copyAsLeftByCrash(walBytes: size * step / 24)
      // Of a log cut before the tables were there, nothing is left: then the store begins anew.
      let again = try await left.open()
      lengths.append(try await consistentLength(again))
      try again.close()
    }
    #expect(lengths == lengths.sorted())
    #expect(lengths.first == 0)
    #expect(lengths.last == 6)
    #expect(Set(lengths).count > 3)
    try store.close()
  }

  @Test("a full disk is named, and costs nothing that was there")
  func fullDisk() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    try await fill(store, 1...3)
    let pages = try #require(Int(try await store.setting("page_count") ?? ""))
    try await store.limitSize(pages: pages + 2)
    await #expect(throws: StoreError.full) {
      try await store.change { transaction in
        for number in 4...100 {
          try transaction.put(
            Identity(
              id: "i\(number)", name: "n\(number)", appData: ["filler": .string(String(repeating: "x", count: 4000))]))
        }
      }
    }
    #expect(try await consistentLength(store) == 3)
    // With space again it goes on where it stood, and so does a store opened anew.
    try await store.limitSize(pages: pages + 1000)
    try await fill(store, 4...4)
    #expect(try await consistentLength(store) == 4)
    try store.close()
    let again = try await directory.open()
    #expect(try await consistentLength(again) == 4)
    try again.close()
  }

  @Test("writers take turns: numbers are given once and none is lost")
  func concurrentWriters() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    let indexes = try await withThrowingTaskGroup(of: UInt64?.self) { tasks in
      for number in 1...20 {
        tasks.addTask {
          try await store.change { try $0.put(Identity(id: "i\(number)", name: "n\(number)")) }.changeSet?.index
        }
      }
      return try await tasks.reduce(into: [UInt64]()) { if let index = $1 { $0.append(index) } }
    }
    #expect(indexes.sorted() == (1...20).map { UInt64($0) })
    try store.close()
  }

  @Test("acknowledged means on disk")
  func settings() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    #expect(try await store.setting("synchronous") == "2")
    #expect(try await store.setting("journal_mode") == "wal")
    try store.close()
  }

  @Test("files belong to their owner alone")
  func modes() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    try await fill(store, 1...1)
    let backup = directory.path + "/backup.db"
    try await store.backup(to: backup)
    func mode(_ path: String) throws -> Int? {
      try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }
    for path in [directory.database, directory.database + "-wal", backup] {
      #expect(try mode(path) == 0o600, "\(path)")
    }
    #expect(try mode(directory.path + "/data") == 0o700)
    try store.close()
  }

  @Test("a backup is the store as it was, with its timeline")
  func backup() async throws {
    let directory = StoreDirectory()
    let store = try await directory.open()
    try await fill(store, 1...2)
    let path = directory.path + "/backup.db"
    try await store.backup(to: path)
    try await fill(store, 3...3)
    let copy = try await Store.open(path: path, now: start)
    #expect(copy.timelineID == store.timelineID)
    #expect(try await consistentLength(copy) == 2)
    try copy.close()
    try store.close()
  }

  @Test("a file that is no database, and a path that is no file, are named")
  func unusable() async throws {
    let directory = StoreDirectory()
    try FileManager.default.createDirectory(atPath: directory.path + "/data", withIntermediateDirectories: true)
    try Data(String(repeating: "not a database ", count: 1000).utf8).write(to: URL(fileURLWithPath: directory.database))
    await #expect {
      _ = try await directory.open()
    } throws: { error in
      if case .corrupt? = error as? StoreError { true } else { false }
    }
    await #expect(throws: StoreError.self) { _ = try await Store.open(path: directory.path, now: start) }
    await #expect(throws: StoreError.self) {
      _ = try await Store.open(path: directory.database + "/below/a/file.db", now: start)
    }
  }
}
