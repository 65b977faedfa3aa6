import Foundation
import JSON
import Model
import Testing

@testable import Store

@Suite("Change-sets", .timeLimit(.minutes(5)))
struct ChangeSetTests {
  private let alice = Identity(id: "i1", name: "alice")

  @Test("indexes run from 1 without gaps, each naming its predecessor, timeline and author")
  func numbering() async throws {
    let store = try await Store.inMemory()
    #expect(try await store.currentIndex() == 0)
    for number in 1...5 as ClosedRange<UInt64> {
      let later = start.adding(seconds: Int64(number))
      let changeSet = try #require(
        try await store.change(at: later) { try $0.put(Identity(id: "i\(number)", name: "n\(number)")) }.changeSet)
      #expect(changeSet.index == number)
      #expect(changeSet.previousIndex == number - 1)
      #expect(changeSet.timelineID == store.timelineID)
      #expect(changeSet.context == context)
      #expect(changeSet.at == later)
    }
    #expect(try await store.currentIndex() == 5)
  }

  @Test("a change-set tells what was before and after")
  func beforeAndAfter() async throws {
    let store = try await Store.inMemory()
    let alice = alice
    let created = try #require(try await store.change { try $0.put(alice) }.changeSet?.changes.first)
    #expect(created.action == .create)
    #expect(created.before == nil)
    #expect(try created.after?.decode(Identity.self).name == "alice")
    var renamed = alice
    renamed.name = "alicia"
    let next = renamed
    let updated = try #require(try await store.change { try $0.put(next) }.changeSet?.changes.first)
    #expect(updated.action == .update)
    #expect(try updated.before?.decode(Identity.self).name == "alice")
    #expect(try updated.after?.decode(Identity.self).name == "alicia")
    let deleted = try #require(try await store.change { try $0.delete(Identity.self, "i1") }.changeSet?.changes.first)
    #expect(deleted.action == .delete)
    #expect(try deleted.before?.decode(Identity.self).name == "alicia")
    #expect(deleted.after == nil)
  }

  @Test("several changes of one entity in a transaction are one change, and none when nothing is left of it")
  func oneChange() async throws {
    let store = try await Store.inMemory()
    let alice = alice
    let created = try await store.change { transaction in
      try transaction.put(alice)
      var renamed = alice
      renamed.name = "alicia"
      try transaction.put(renamed)
      try transaction.put(EdgeService(id: "s1", name: "web"))
    }
    #expect(created.changeSet?.changes.map(\.id) == ["i1", "s1"])
    #expect(created.changeSet?.changes.map(\.action) == [.create, .create])
    let passing = try await store.change { transaction in
      try transaction.put(Identity(id: "i2", name: "bob"))
      try transaction.delete(Identity.self, "i2")
    }
    #expect(passing.changeSet == nil)
    #expect(try await store.change { try $0.delete(Identity.self, "nobody") }.changeSet == nil)
    #expect(try await store.currentIndex() == 1)
  }

  @Test("sessions are no intent and get no number")
  func sessions() async throws {
    let store = try await Store.inMemory()
    let committed = try await store.change { try $0.put(APISession(id: "as1", token: "t1", identityId: "i1")) }
    #expect(committed.changeSet == nil)
    #expect(try await store.read { try $0.get(APISession.self, "as1") } != nil)
  }

  @Test("secrets are stored with the entity and never in a change-set")
  func secrets() async throws {
    let store = try await Store.inMemory()
    let hash = PasswordHash(algorithm: "argon2id13", salt: "the-salt", hash: "the-hash", opslimit: 1, memlimit: 1)
    try await store.change { transaction in
      try transaction.put(Authenticator(id: "a1", method: .updb, identityId: "i1", username: "alice", password: hash))
      try transaction.put(
        Enrollment(id: "e1", method: .ott, token: "the-token", expiresAt: start, jwt: "the-jwt", identityId: "i1"))
      try transaction.put(
        Terminator(
          id: "t1", serviceId: "s1", routerId: "r1", binding: "edge", address: "a", identity: "x",
          identitySecret: "the-secret"))
    }
    let text = try await store.rawChangeSetText()
    for secret in ["the-salt", "the-hash", "the-token", "the-jwt", "the-secret"] { #expect(!text.contains(secret)) }
    #expect(text.contains("alice"))
    #expect(try await store.read { try $0.get(Authenticator.self, "a1") }?.password == hash)
  }

  @Test("a replica asks for what follows its index")
  func following() async throws {
    let store = try await Store.inMemory()
    for number in 1...4 { try await store.change { try $0.put(Identity(id: "i\(number)", name: "n\(number)")) } }
    let (after2, limited, upToDate, ahead) = try await store.read { reader in
      (
        try reader.changeSets(after: 2), try reader.changeSets(after: 0, limit: 3), try reader.changeSets(after: 4),
        try reader.changeSets(after: 5)
      )
    }
    #expect(after2?.map(\.index) == [3, 4])
    #expect(after2?.first?.context == context)
    #expect(limited?.map(\.index) == [1, 2, 3])
    #expect(upToDate == [])
    // Somebody who knows more than we do comes from another history.
    #expect(ahead == nil)
  }

  @Test("times are the transaction's; the creation's stays")
  func times() async throws {
    let store = try await Store.inMemory()
    let later = start.adding(seconds: 60)
    let alice = alice
    let created = try await store.change { try $0.put(alice) }.value
    let updated = try await store.change(at: later) { try $0.put(alice) }.value
    #expect(created.createdAt == start)
    #expect(created.updatedAt == start)
    #expect(updated.createdAt == start)
    #expect(updated.updatedAt == later)
    #expect(try await store.read { try $0.require(Identity.self, "i1") } == updated)
  }

  @Test("an entity that is not valid is not stored")
  func invalid() async throws {
    let store = try await Store.inMemory()
    await #expect(throws: ModelError.self) { try await store.change { try $0.put(Identity(id: "i1", name: " ")) } }
    #expect(try await store.read { try $0.count(.identities) } == 0)
  }
}

@Suite("Uniqueness and look-ups", .timeLimit(.minutes(5)))
struct UniquenessTests {
  @Test("a name belongs to one entity of a kind, and is free again when that is renamed or gone")
  func names() async throws {
    let store = try await Store.inMemory()
    try await store.change { try $0.put(Identity(id: "i1", name: "alice")) }
    await #expect(throws: StoreError.duplicateName(kind: .identities, name: "alice")) {
      try await store.change { try $0.put(Identity(id: "i2", name: "alice")) }
    }
    try await store.change { transaction in
      // Another kind, and the entity itself, may have it.
      try transaction.put(EdgeService(id: "s1", name: "alice"))
      try transaction.put(Identity(id: "i1", name: "alice"))
      try transaction.put(Identity(id: "i1", name: "alicia"))
      try transaction.put(Identity(id: "i2", name: "alice"))
      try transaction.delete(Identity.self, "i2")
      try transaction.put(Identity(id: "i3", name: "alice"))
    }
    #expect(try await store.read { try $0.named(Identity.self, "alice") }?.id == "i3")
    #expect(try await store.read { try $0.named(Identity.self, "Alice") } == nil)
  }

  @Test("a unique member belongs to one entity; absent and empty ones repeat")
  func members() async throws {
    let store = try await Store.inMemory()
    try await store.change { transaction in
      try transaction.put(Identity(id: "i1", name: "a", externalId: "x"))
      try transaction.put(Identity(id: "i2", name: "b"))
      try transaction.put(Identity(id: "i3", name: "c"))
    }
    await #expect(throws: StoreError.duplicateValue(kind: .identities, field: "externalId", value: "x")) {
      try await store.change { try $0.put(Identity(id: "i2", name: "b", externalId: "x")) }
    }
    try await store.change { transaction in
      try transaction.put(Identity(id: "i1", name: "a", externalId: "y"))
      try transaction.put(Identity(id: "i2", name: "b", externalId: "x"))
    }
    #expect(try await store.read { try $0.first(Identity.self, field: "externalId", equals: "x") }?.id == "i2")
    #expect(try await store.read { try $0.first(Identity.self, field: "externalId", equals: "y") }?.id == "i1")
    try await store.change { try $0.delete(Identity.self, "i1") }
    #expect(try await store.read { try $0.first(Identity.self, field: "externalId", equals: "y") } == nil)
  }

  @Test("references are found from their target, and follow a change")
  func references() async throws {
    let store = try await Store.inMemory()
    let terminators = (1...3).map {
      Terminator(id: "t\($0)", serviceId: "s1", routerId: "r\($0)", binding: "edge", address: "a")
    }
    try await store.change { transaction in for terminator in terminators { try transaction.put(terminator) } }
    #expect(
      try await store.read { try $0.all(Terminator.self, field: "serviceId", equals: "s1") }.map(\.id) == [
        "t1", "t2", "t3",
      ])
    try await store.change { transaction in
      var moved = terminators[1]
      moved.serviceId = "s2"
      try transaction.put(moved)
      try transaction.delete(Terminator.self, "t3")
    }
    #expect(try await store.read { try $0.all(Terminator.self, field: "serviceId", equals: "s1") }.map(\.id) == ["t1"])
    #expect(try await store.read { try $0.all(Terminator.self, field: "serviceId", equals: "s2") }.map(\.id) == ["t2"])
    #expect(try await store.read { try $0.all(Terminator.self, field: "routerId", equals: "r3") } == [])
  }

  @Test("what is not indexed is not looked up, what is missing is named")
  func errors() async throws {
    let store = try await Store.inMemory()
    await #expect(throws: StoreError.notIndexed(kind: .identities, field: "isAdmin")) {
      try await store.read { try $0.first(Identity.self, field: "isAdmin", equals: "true") }
    }
    await #expect(throws: StoreError.notFound(kind: .identities, id: "i9")) {
      try await store.read { try $0.require(Identity.self, "i9") }
    }
    #expect(try await store.read { try $0.exists(.identities, "i9") } == false)
  }
}
