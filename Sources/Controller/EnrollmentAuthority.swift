import Foundation
import Model
import PKI
import Store
import Transport

/// Makes invitations: enrollments with their signed tokens.
struct EnrollmentAuthority: Sendable {
  enum Invitee: Sendable {
    case identity(String)
    case edgeRouter(String)
  }

  let core: ControllerCore

  /// A new enrollment, not stored yet: the caller stores it in the same transaction as the entity it invites.
  /// - Parameters:
  ///   - username: for `updb`.
  ///   - expiresAt: nil takes the configured life.
  func invite(_ invitee: Invitee, method: EnrollmentMethod, username: String? = nil, expiresAt: Timestamp? = nil)
    async throws -> Enrollment
  {
    let now = core.now
    var enrollment: Enrollment
    let token = EntityID.uuid()
    switch invitee {
    case .identity(let id):
      let end = expiresAt ?? now.adding(seconds: Int64(core.configuration.identityEnrollmentDuration))
      enrollment = Enrollment(
        id: EntityID.short(), method: method, token: token, expiresAt: end, issuedAt: now, identityId: id,
        username: username)
    case .edgeRouter(let id):
      let end = expiresAt ?? now.adding(seconds: Int64(core.configuration.routerEnrollmentDuration))
      enrollment = Enrollment(
        id: EntityID.short(), method: method, token: token, expiresAt: end, issuedAt: now, edgeRouterId: id)
    }
    enrollment.jwt = try await sign(enrollment)
    return enrollment
  }

  /// The same enrollment with a new token and end.
  func renewed(_ enrollment: Enrollment, expiresAt: Timestamp) async throws -> Enrollment {
    var enrollment = enrollment
    enrollment.token = EntityID.uuid()
    enrollment.expiresAt = expiresAt
    enrollment.issuedAt = core.now
    enrollment.jwt = try await sign(enrollment)
    return enrollment
  }

  private func sign(_ enrollment: Enrollment) async throws -> String {
    let claims = EnrollmentClaims(
      iss: core.url, sub: enrollment.identityId ?? enrollment.edgeRouterId ?? "", jti: enrollment.token,
      exp: enrollment.expiresAt.secondsSinceEpoch,
      em: enrollment.method.rawValue, ctrls: [PeerAddress(core.advertised).description])
    return try await core.pki.signer.sign(claims)
  }
}
