import Fabric
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import PKI
import SwiftProtobuf
import Transport
import Wire
import WireSchemas
import X509

/// Renews the router's certificates over its control channel, long before they end (fabric-planes.md 1.5). The key
/// stays, so a crash between the controller's switch and the written files costs a new enrollment at worst, never a
/// leaked key.
final class RouterRenewal: Sendable {
  private let identity: RouterIdentity
  private let request: RouterConfiguration.CertificateRequest
  private let logger: Logger
  private let isPending = NIOLockedValueBox(false)

  init(identity: RouterIdentity, request: RouterConfiguration.CertificateRequest, logger: Logger) {
    self.identity = identity
    self.request = request
    self.logger = logger
  }

  /// A channel is new: an answer that the old one owed will not come.
  func begin() { isPending.withLockedValue { $0 = false } }

  /// Asks for new certificates when the present ones are due.
  func askIfDue(_ channel: MessageChannel, now: Date = Date()) {
    guard identity.isDue(now: now),
      isPending.withLockedValue({ pending in
        defer { pending = true }
        return !pending
      })
    else { return }
    do {
      let csr = try CSR.create(
        key: identity.key, commonName: identity.routerID, organization: request.organization, names: request.names,
        uris: request.uris)
      channel.post(
        Wire.Message(
          .extendRouterEnrollment,
          EdgeCtrlEnrollmentExtendRouterRequest.with {
            $0.clientCertCsr = csr
            $0.serverCertCsr = csr
            $0.requireVerification = true
          }))
    } catch {
      logger.error("the router's certificates cannot be renewed", metadata: ["error": "\(error)"])
    }
  }

  /// The controller issued certificates: confirm them, then use them. Confirmed ones end those before, so they must be
  /// good by this machine's clock too.
  func received(_ message: Wire.Message, _ channel: MessageChannel, now: Date = Date()) async {
    var mayAskAgain = true
    defer { if mayAskAgain { begin() } }
    do {
      let answer = try message.decode(EdgeCtrlEnrollmentCertsResponse.self)
      let (client, server) = (
        try CertificateChain(pem: answer.clientCertPem), try CertificateChain(pem: answer.serverCertPem)
      )
      guard identity.key.fits(client.leaf), identity.key.fits(server.leaf), client.leaf.commonName == identity.routerID
      else {
        throw RouterError.badAnswer("the renewed certificates are for another key or router")
      }
      guard client.leaf.isValid(at: now), server.leaf.isValid(at: now) else {
        // Asking again would bring the same until somebody sets a clock; the next channel tries anew.
        mayAskAgain = false
        throw RouterError.clocksDisagree(from: client.leaf.notValidBefore, until: client.leaf.notValidAfter)
      }
      let confirmation = EdgeCtrlEnrollmentExtendRouterVerifyRequest.with { $0.clientCertPem = answer.clientCertPem }
      let verdict = try await channel.request(Wire.Message(.verifyRouterExtension, confirmation), timeout: .seconds(30))
        .decode(EdgeCtrlError.self)
      guard verdict.code.isEmpty else {
        throw RouterError.badAnswer("the controller did not confirm the renewal: \(verdict.code) \(verdict.message)")
      }
      try identity.replace(client: client, server: server)
      logger.info("certificates renewed", metadata: ["until": "\(client.leaf.notValidAfter)"])
    } catch {
      logger.error("the router's certificates were not renewed", metadata: ["error": "\(error)"])
    }
  }
}
