import Fabric
import Logging
import Model
import PKI
import Store
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// Certificates of routers: a router asks whether another one is genuine, and has its own renewed.
extension RouterConnection {
  func verifyRouter(_ request: CtrlVerifyRouter, _ message: Wire.Message) throws {
    let fingerprint = core.model { $0.edgeRouters[request.routerID]?.fingerprint }
    let isGenuine = fingerprint.map { request.fingerprints.contains($0) } ?? false
    channel.reply(
      Wire.Message.result(
        success: isGenuine, text: isGenuine ? "" : "router \(request.routerID) did not enroll with that certificate",
        replyTo: message),
      to: message)
  }

  // MARK: Extension (fabric-planes.md 1.5)

  func extendCertificates(_ request: EdgeCtrlEnrollmentExtendRouterRequest, _ connection: UInt64) async throws {
    guard core.routerCertificatePace.admits(router) else {
      return log.write(.warning, "a router renews its certificates too often; this time it gets none", [:])
    }
    let issued = try EnrollmentAuthority(core: core).certify(
      router: router, client: request.clientCertCsr, server: request.serverCertCsr, at: .renewal)
    let (clientChain, serverChain) = (issued.client, issued.server)
    let id = router
    let mustVerify = request.requireVerification
    let isStored = try await core.write(ChangeContext(authorID: router, source: "router")) {
      [fabric] transaction -> Bool in
      // Asked in the one writer: whoever enrolls the router anew has expelled it before the next change begins.
      guard fabric.listens(to: id, connection: connection), var entity = try transaction.get(EdgeRouterEntity.self, id)
      else { return false }
      if mustVerify {
        entity.unverifiedFingerprint = clientChain.leaf.sha1Fingerprint
        entity.unverifiedCertPem = clientChain.pem
      } else {
        entity.fingerprint = clientChain.leaf.sha1Fingerprint
        entity.certPem = clientChain.pem
      }
      try transaction.put(entity)
      return true
    }
    guard isStored else { return }
    channel.post(
      Wire.Message(
        .routerCertificates,
        EdgeCtrlEnrollmentCertsResponse.with {
          $0.clientCertPem = clientChain.pem
          $0.serverCertPem = serverChain.pem
        }))
  }

  func verifyExtension(_ message: Wire.Message, _ connection: UInt64) async {
    var failure: (code: String, text: String)?
    do {
      let request = try message.decode(EdgeCtrlEnrollmentExtendRouterVerifyRequest.self)
      let fingerprint = try CertificateChain(pem: request.clientCertPem).leaf.sha1Fingerprint
      let id = router
      let isPromoted = try await core.write(ChangeContext(authorID: router, source: "router")) {
        [fabric] transaction -> Bool in
        guard fabric.listens(to: id, connection: connection),
          var entity = try transaction.get(EdgeRouterEntity.self, id),
          entity.unverifiedFingerprint == fingerprint
        else { return false }
        entity.fingerprint = fingerprint
        entity.certPem = entity.unverifiedCertPem
        entity.unverifiedFingerprint = nil
        entity.unverifiedCertPem = nil
        try transaction.put(entity)
        return true
      }
      if !isPromoted { failure = ("INVALID_CLIENT_PEM", "the certificate is not the one that was issued last") }
    } catch {
      failure = ("VERIFY_ERROR", "\(error)")
    }
    let body = EdgeCtrlError.with {
      $0.code = failure?.code ?? ""
      $0.message = failure?.text ?? ""
    }
    channel.reply(Wire.Message(.edgeError, body), to: message)
  }
}
