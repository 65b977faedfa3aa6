// Authentication: proofs of identity and the sessions that follow from them: Argon2id passwords on a bounded thread
// pool, certificates against the network's anchors, lock-outs, the limits that keep guessing expensive, and the
// registry of sessions. It knows no HTTP and opens no socket. Start reading at `PasswordLogin` and `CertificateLogin`,
// then `SessionRegistry`.

import CSodium
import Foundation
public import Model
import NIOPosix
import PKI
import Synchronization
import Transport

public enum AuthenticationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// More password checks are waiting than the machine can do soon.
  case busy
  case outOfMemory
  case badPolicy(String)

  public var description: String {
    switch self {
    case .busy: "too many password checks are waiting; try again in a moment"
    case .outOfMemory: "not enough memory for a password hash"
    case .badPolicy(let why): "the password is not accepted: \(why)"
    }
  }
}

/// Hashes and checks passwords with libsodium's Argon2id, off the event loops and the cooperative pool.
///
/// The parameters are stored with each hash, so they can be raised later. A check of an unknown user costs what a wrong
/// password costs, because it is done against a decoy hash with the same parameters.
public final class PasswordHasher: Sendable {
  /// libsodium's interactive limits: 2 passes over 64 MiB.
  private static let passes = 2
  private static let memory = 64 * 1024 * 1024
  private static let saltLength = 16
  private static let hashLength = 32
  static let algorithm = "argon2id13"

  private let pool: NIOThreadPool
  private let waiting = Atomic<Int>(0)
  private let queueLimit: Int
  /// Checks of each source that wait or run; sources without any have no entry.
  private let bySource = Mutex<[String: Int]>([:])
  private let decoy: PasswordHash

  /// - Parameters:
  ///   - threads: checks at the same time; each takes 64 MiB.
  ///   - queueLimit: checks that may wait; beyond it callers get `busy`.
  public init(threads: Int = 2, queueLimit: Int = 64) throws {
    guard sodium_init() >= 0 else { throw AuthenticationError.outOfMemory }
    pool = NIOThreadPool(numberOfThreads: threads)
    pool.start()
    self.queueLimit = queueLimit
    decoy = try Self.make("decoy of " + RandomSource.hex(8))
  }

  public func hash(_ password: String) async throws -> PasswordHash { try await run { try Self.make(password) } }

  /// - Parameters:
  ///   - stored: nil when the user is unknown; the check then takes as long and fails.
  ///   - source: who asks, as an address. A quarter of the queue is the most that one source may hold.
  /// - Throws: `AuthenticationError.busy`.
  public func verify(_ password: String, against stored: PasswordHash?, from source: String) async throws -> Bool {
    let expected = stored ?? decoy
    let source = ClientNetwork.key(source)
    let share = max(1, queueLimit / 4)
    let isAdmitted = bySource.withLock { counts in
      guard counts[source, default: 0] < share else { return false }
      counts[source, default: 0] += 1
      return true
    }
    guard isAdmitted else { throw AuthenticationError.busy }
    defer { bySource.withLock { counts in counts[source] = counts[source].flatMap { $0 > 1 ? $0 - 1 : nil } } }
    let matches = try await run { try Self.check(password, expected) }
    return matches && stored != nil
  }

  private func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    guard waiting.add(1, ordering: .relaxed).newValue <= queueLimit else {
      waiting.subtract(1, ordering: .relaxed)
      throw AuthenticationError.busy
    }
    defer { waiting.subtract(1, ordering: .relaxed) }
    return try await pool.runIfActive {
      Self.stepBack()
      return try body()
    }
  }

  #if os(Linux)
    /// What a thread of the pool is set to: ten steps behind the process.
    private static let nice = min(19, getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) + 10)
  #endif

  /// Lets event loops go first: a check keeps a processor for tens of milliseconds, and whoever guesses passwords would
  /// slow everybody's traffic. On Linux a thread has a priority of its own; elsewhere nothing is changed.
  private static func stepBack() {
    #if os(Linux)
      _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice)
    #endif
  }

  private static func make(_ password: String) throws -> PasswordHash {
    let salt = RandomSource.bytes(saltLength)
    let hash = try derive(password, salt: salt, passes: passes, memory: memory)
    return PasswordHash(
      algorithm: algorithm, salt: Data(salt).base64EncodedString(), hash: Data(hash).base64EncodedString(),
      opslimit: passes, memlimit: memory)
  }

  private static func check(_ password: String, _ stored: PasswordHash) throws -> Bool {
    guard stored.algorithm == algorithm, let salt = Data(base64Encoded: stored.salt), salt.count == saltLength,
      let expected = Data(base64Encoded: stored.hash),
      expected.count == hashLength, stored.opslimit > 0, stored.memlimit > 0
    else { return false }
    let hash = try derive(password, salt: Array(salt), passes: stored.opslimit, memory: stored.memlimit)
    return sodium_memcmp(hash, Array(expected), hashLength) == 0
  }

  private static func derive(_ password: String, salt: [UInt8], passes: Int, memory: Int) throws -> [UInt8] {
    var out = [UInt8](repeating: 0, count: hashLength)
    let bytes = Array(password.utf8).map { CChar(bitPattern: $0) }
    let result = crypto_pwhash(
      &out, UInt64(hashLength), bytes, UInt64(bytes.count), salt, UInt64(passes), memory, crypto_pwhash_ALG_ARGON2ID13)
    guard result == 0 else { throw AuthenticationError.outOfMemory }
    return out
  }
}

/// Comparison of tokens, in a time that does not depend on where they differ.
public enum SecretText {
  public static func equal(_ left: String, _ right: String) -> Bool {
    let left = Array(left.utf8)
    let right = Array(right.utf8)
    return left.count == right.count && sodium_memcmp(left, right, left.count) == 0
  }
}
