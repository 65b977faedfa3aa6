import Authentication
import Model
import Testing

@Suite("Passwords", .timeLimit(.minutes(5)))
struct PasswordTests {
  @Test("a hash accepts its password and no other, and says how it was made")
  func roundTrip() async throws {
    let hasher = try PasswordHasher()
    let hash = try await hasher.hash("pässwörd 1")
    #expect(try await hasher.verify("pässwörd 1", against: hash, from: "::1"))
    for wrong in ["pässwörd 2", "pässwörd 1 ", ""] {
      #expect(try await !hasher.verify(wrong, against: hash, from: "::1"))
    }
    #expect(hash.algorithm == "argon2id13")
    #expect(hash.opslimit == 2)
    #expect(hash.memlimit == 64 * 1024 * 1024)
    // The same password has another salt each time.
    let second = try await hasher.hash("pässwörd 1")
    #expect(second.salt != hash.salt)
    #expect(second.hash != hash.hash)
  }

  /// Made by libsodium itself: 3 passes over 1 MiB, unlike what we use today.
  private let older = PasswordHash(
    algorithm: "argon2id13", salt: "AAECAwQFBgcICQoLDA0ODw==", hash: "aLfdWBUudCqbarnTQ57Jwou43TmB4d0Z5qMtmuJDz8I=",
    opslimit: 3, memlimit: 1 << 20)

  @Test("a hash is checked with the parameters stored in it")
  func storedParameters() async throws {
    let hasher = try PasswordHasher()
    #expect(try await hasher.verify("pässwörd", against: older, from: "::1"))
    #expect(try await !hasher.verify("password", against: older, from: "::1"))
    var other = older
    other.opslimit = 2
    #expect(try await !hasher.verify("pässwörd", against: other, from: "::1"))
  }

  @Test("a stored hash that makes no sense accepts nothing")
  func damaged() async throws {
    let hasher = try PasswordHasher()
    let damages: [@Sendable (inout PasswordHash) -> Void] = [
      { $0.algorithm = "argon2i" }, { $0.salt = "AAEC" }, { $0.salt = "%" }, { $0.hash = "" }, { $0.hash = "AAEC" },
      { $0.opslimit = 0 },
      { $0.opslimit = -1 }, { $0.memlimit = 0 }, { $0.memlimit = -1 },
    ]
    for damage in damages {
      var hash = older
      damage(&hash)
      #expect(try await !hasher.verify("pässwörd", against: hash, from: "::1"))
    }
  }

  @Test("an unknown user is refused, after as much work as a known one")
  func unknownUser() async throws {
    #expect(try await !PasswordHasher().verify("anything", against: nil, from: "::1"))
    // With a queue that takes nothing, the work asked for shows: an answer without it would be `false`.
    let full = try PasswordHasher(queueLimit: 0)
    await #expect(throws: AuthenticationError.busy) { try await full.verify("anything", against: nil, from: "::1") }
    await #expect(throws: AuthenticationError.busy) { try await full.verify("anything", against: older, from: "::1") }
    await #expect(throws: AuthenticationError.busy) { try await full.hash("anything") }
  }

  @Test("beyond the queue callers hear busy, and the queue empties again")
  func boundedQueue() async throws {
    let hasher = try PasswordHasher(threads: 1, queueLimit: 2)
    let older = older
    let (checked, busy) = try await withThrowingTaskGroup(of: Bool.self) { tasks in
      for number in 0..<32 {
        tasks.addTask {
          do {
            return try await hasher.verify("pässwörd", against: older, from: "10.0.0.\(number)")
          } catch AuthenticationError.busy {
            return false
          }
        }
      }
      return try await tasks.reduce(into: (0, 0)) { counts, checked in
        if checked { counts.0 += 1 } else { counts.1 += 1 }
      }
    }
    #expect(checked >= 2)
    #expect(checked + busy == 32)
    #expect(try await hasher.verify("pässwörd", against: older, from: "::1"))
  }

  @Test(
    "a policy accepts what it asks for",
    arguments: [
      (PrimaryAuthPolicy.Password(), "abcde", true), (.init(), "abcd", false),
      (.init(), String(repeating: "a", count: 100), true),
      (.init(), String(repeating: "a", count: 101), false), (.init(minPasswordLength: 8), "abcdefg", false),
      (.init(minPasswordLength: 8), "abcdefgh", true),
      (.init(minPasswordLength: 1000), String(repeating: "a", count: 100), true),
      (.init(requireNumberChar: true), "abcde", false), (.init(requireNumberChar: true), "abcd1", true),
      (.init(requireMixedCase: true), "abcde", false), (.init(requireMixedCase: true), "abcdE", true),
      (.init(requireSpecialChar: true), "abcd1", false), (.init(requireSpecialChar: true), "abcd!", true),
    ] as [(PrimaryAuthPolicy.Password, String, Bool)])
  func policy(_ policy: PrimaryAuthPolicy.Password, _ password: String, _ isAccepted: Bool) {
    if isAccepted {
      #expect(throws: Never.self) { try PasswordPolicy.check(password, policy) }
    } else {
      #expect(throws: AuthenticationError.self) { try PasswordPolicy.check(password, policy) }
    }
  }

  @Test(
    "secrets are equal when all of their bytes are",
    arguments: [("", "", true), ("ab", "ab", true), ("ab", "ac", false), ("ab", "abc", false), ("", "a", false)])
  func secrets(_ left: String, _ right: String, _ equal: Bool) { #expect(SecretText.equal(left, right) == equal) }
}
