import Foundation
import NIOConcurrencyHelpers
import PKI
import SwiftASN1
import Transport
import X509

/// The router's certificates and key, as enrollment or the last renewal wrote them.
final class RouterIdentity: Sendable {
  let files: RouterConfiguration.IdentityFiles
  let routerID: String
  let anchors: TrustAnchors
  let key: PrivateKey
  let server: ServerIdentity
  private let current: NIOLockedValueBox<(chain: CertificateChain, tls: ClientTLS)>

  init(files: RouterConfiguration.IdentityFiles) throws {
    self.files = files
    key = try PrivateKey(pem: try RouterFile.read(files.key))
    let chain = try CertificateChain(pem: try RouterFile.read(files.certificate))
    let serverChain = try CertificateChain(pem: try RouterFile.read(files.serverCertificate))
    anchors = TrustAnchors(try Certificate.list(pem: try RouterFile.read(files.authorities)))
    guard key.fits(chain.leaf) else { throw RouterError.keyDoesNotFit(certificate: files.certificate, key: files.key) }
    guard key.fits(serverChain.leaf) else {
      throw RouterError.keyDoesNotFit(certificate: files.serverCertificate, key: files.key)
    }
    guard let id = chain.leaf.commonName, !id.isEmpty else { throw RouterError.noRouterID(file: files.certificate) }
    routerID = id
    let tls = ClientTLS(chain: chain, key: key, trust: .anchors(anchors, as: Self.controllers(serverChain.leaf)))
    current = NIOLockedValueBox((chain, tls))
    server = try ServerIdentity(chain: serverChain, key: key)
  }

  /// What the router proves to controllers; asked for at every dial.
  var client: ClientTLS { current.withLockedValue { $0.tls } }

  /// Controllers that mark the certificates of routers bear SPIFFE ids of that trust domain themselves.
  private static func controllers(_ server: Certificate) -> ServerRole {
    .controller(of: server.spiffeID.flatMap { $0.routerID == nil ? nil : $0.trustDomain })
  }

  /// Whether one of the certificates is to be renewed.
  func isDue(now: Date) -> Bool {
    CertificateRenewal.isDue(current.withLockedValue { $0.chain.leaf }, now: now)
      || CertificateRenewal.isDue(server.chain.leaf, now: now)
  }

  /// Writes renewed certificates of the same key and uses them for every handshake from now on.
  func replace(client: CertificateChain, server renewed: CertificateChain) throws {
    try RouterFile.write(renewed.pem, to: files.serverCertificate)
    try RouterFile.write(client.pem, to: files.certificate)
    try server.replace(chain: renewed, key: key)
    let tls = ClientTLS(chain: client, key: key, trust: .anchors(anchors, as: Self.controllers(renewed.leaf)))
    current.withLockedValue { $0 = (client, tls) }
  }

  /// SDKs refuse a router whose certificate does not name the host they dial, so it is said here, at start.
  func requireName(_ host: String) throws(RouterError) {
    guard server.chain.leaf.names(host: host) else { throw .nameNotCovered(name: host, file: files.serverCertificate) }
  }
}
