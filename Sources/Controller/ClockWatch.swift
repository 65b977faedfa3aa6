import Authentication
import Logging
import Model
import NIOConcurrencyHelpers
import PKI
import Store

/// Notices when the wall clock leaves the path of the monotonic one: somebody set it, or it was never right. Everything
/// with an end is told in wall time, so a jump must be known before it is believed.
struct ClockWatch: Sendable {
  /// Milliseconds. Less is what time services mend by themselves, and as much as certificates are backdated.
  static let tolerance = Int64(CertificateAuthority.Lifetime.backdate * 1000)

  private var wall: Timestamp
  private var steady: ContinuousClock.Instant

  init(wall: Timestamp, steady: ContinuousClock.Instant) {
    self.wall = wall
    self.steady = steady
  }

  /// - Returns: the milliseconds by which the wall clock jumped since it was asked last; 0 when it went as it should.
  mutating func observe(wall: Timestamp, steady: ContinuousClock.Instant) -> Int64 {
    let passed = (steady - self.steady).components
    let jump = wall.milliseconds(since: self.wall) - passed.seconds * 1000 - passed.attoseconds / 1_000_000_000_000_000
    (self.wall, self.steady) = (wall, steady)
    return jump.magnitude > Self.tolerance.magnitude ? jump : 0
  }
}

/// A clock that jumps costs no session and leaves nothing behind that would not end.
extension ControllerCore {
  /// Called every few seconds, before anything is ended for its age.
  func mindClock(steady: ContinuousClock.Instant = .now) async throws {
    let now = self.now
    let jump = clockWatch.withLockedValue { $0.observe(wall: now, steady: steady) }
    guard jump != 0 else { return }
    logger.warning(
      "the clock of this machine jumped; sessions go on, tokens and certificates keep the ends they were given",
      metadata: ["seconds": "\(jump / 1000)", "now": "\(now.text)"])
    sessions.clockJumped(by: jump, tolerance: ClockWatch.tolerance, now: now)
    try await settle(now: now)
    try await renewCertificatesIfDue()
  }

  /// What was stored by a clock that ran ahead gets the life it was meant to have, from now on; otherwise it would last
  /// as much longer as the clock was wrong.
  func settle(now: Timestamp) async throws {
    let limit = now.adding(milliseconds: ClockWatch.tolerance)
    let early = sessions.settle(now: now, limit: limit)
    let keyLimit = now.adding(seconds: Int64(SessionRegistry.tokenLifetime))
    let (keys, identities) = model { state in
      (
        state.publicKeys.values.filter { $0.publishedUntil.map { $0 > keyLimit } ?? false }.map(\.id),
        state.identities.values.filter { identity in
          [(identity.disabledAt, identity.disabledUntil), (identity.lockedAt, identity.lockedUntil)].contains {
            from, until in
            until != nil && from.map { $0 > limit } ?? false
          }
        }.map(\.id)
      )
    }
    let enrollments = try await store.read {
      try $0.all(Enrollment.self).filter { $0.issuedAt.map { $0 > limit } ?? false }.map(\.id)
    }
    guard early > 0 || !keys.isEmpty || !identities.isEmpty || !enrollments.isEmpty else { return }
    logger.warning(
      "the clock was ahead when this was stored, or is behind now; its ends are counted from now on",
      metadata: [
        "sessions": "\(early)", "enrollments": "\(enrollments.count)", "identities": "\(identities.count)",
        "keys": "\(keys.count)",
        "now": "\(now.text)",
      ])
    guard !keys.isEmpty || !identities.isEmpty || !enrollments.isEmpty else { return }
    try await write(.system("clock")) { transaction in
      for id in keys {
        guard var key = try transaction.get(PublicKeyRecord.self, id) else { continue }
        key.publishedUntil = keyLimit
        try transaction.put(key)
      }
      for id in identities {
        guard var identity = try transaction.get(Identity.self, id) else { continue }
        if let from = identity.disabledAt, from > now {
          identity.disabledUntil = identity.disabledUntil?.adding(milliseconds: now.milliseconds(since: from))
          identity.disabledAt = now
        }
        if let from = identity.lockedAt, from > now {
          identity.lockedUntil = identity.lockedUntil?.adding(milliseconds: now.milliseconds(since: from))
          identity.lockedAt = now
        }
        try transaction.put(identity)
      }
      for id in enrollments {
        guard var enrollment = try transaction.get(Enrollment.self, id), let from = enrollment.issuedAt, from > now
        else { continue }
        enrollment.expiresAt = enrollment.expiresAt.adding(milliseconds: now.milliseconds(since: from))
        enrollment.issuedAt = now
        try transaction.put(enrollment)
      }
    }
  }
}
