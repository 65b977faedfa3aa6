import Foundation
import NIOConcurrencyHelpers
import PKI
import Transport
import X509

/// The certificates of a network and of this controller: made at first start, or the operator's.
final class ControllerPKI: Sendable {
  private struct Server {
    var signer: TokenSigner
    var renewed = 0
  }

  let authorities: [Certificate]
  let signingAuthority: CertificateAuthority
  let serverIdentity: ServerIdentity
  let trustDomain: String
  let controllerID: String
  let anchors: TrustAnchors
  /// The CA bundle as clients fetch it; constant bytes, or C SDKs rewrite their identity files after each login
  /// (edge-client-api.md 2.3).
  let bundle: String
  let bundlePEM: String
  /// Seals session tokens in the database, whose files, and copies of them, do not hold its key.
  let sessionSeal: TokenSeal
  private let server: NIOLockedValueBox<Server>
  private let directory: String
  private let names: [String]
  private let lifetime: TimeInterval
  private let isSupplied: Bool

  /// Whether the server certificate says by a SPIFFE id that it is a controller's. An operator's own may say nothing.
  var isNamed: Bool { serverIdentity.chain.leaf.spiffeID?.controllerID != nil }

  var signer: TokenSigner { server.withLockedValue { $0.signer } }

  static func open(_ configuration: ControllerConfiguration, now: Date) async throws -> ControllerPKI {
    try PrivateFile.makeDirectory(configuration.dataDirectory)
    let directory = configuration.dataDirectory + "/pki"
    try PrivateFile.makeDirectory(directory)
    let names = ([configuration.advertised.host] + configuration.serverNames).reduce(into: [String]()) {
      if !$0.contains($1) { $0.append($1) }
    }
    if let supplied = configuration.supplied {
      let signing = try CertificateAuthority(
        chain: CertificateChain(pem: PrivateFile.text(supplied.signingChain)),
        key: PrivateKey(pem: PrivateFile.text(supplied.signingKey)))
      let chain = try CertificateChain(pem: PrivateFile.text(supplied.serverChain))
      return try await ControllerPKI(
        authorities: Certificate.list(pem: PrivateFile.text(supplied.authorities)), signing: signing, chain: chain,
        key: PrivateKey(pem: PrivateFile.text(supplied.serverKey)),
        trustDomain: configuration.trustDomain ?? chain.leaf.spiffeID?.trustDomain
          ?? signing.chain.leaf.sha1Fingerprint, directory: directory,
        names: names,
        lifetime: configuration.certificateLifetime, isSupplied: true)
    }
    if !PrivateFile.exists(directory + "/server.pem") {
      try create(in: directory, names: names, configuration: configuration, now: now)
    }
    let signing = try CertificateAuthority(
      chain: CertificateChain(pem: PrivateFile.text(directory + "/signing.pem")),
      key: PrivateKey(pem: PrivateFile.text(directory + "/signing.key"))
    )
    let chain = try CertificateChain(pem: PrivateFile.text(directory + "/server.pem"))
    return try await ControllerPKI(
      authorities: Certificate.list(pem: PrivateFile.text(directory + "/root.pem")), signing: signing, chain: chain,
      key: PrivateKey(pem: PrivateFile.text(directory + "/server.key")),
      trustDomain: chain.leaf.spiffeID?.trustDomain ?? "swiftlet",
      directory: directory,
      names: names, lifetime: configuration.certificateLifetime, isSupplied: false)
  }

  /// No network is older than this. A clock that shows an earlier time was never set, and authorities that it dated
  /// would have ended by the time it is.
  private static let earliestStart = Date(timeIntervalSince1970: 1_767_225_600)  // 2026-01-01

  private static func create(in directory: String, names: [String], configuration: ControllerConfiguration, now: Date)
    throws
  {
    guard now >= earliestStart else {
      throw ConfigurationError(
        file: directory,
        "certificates are not made while the clock of this machine says \(now.formatted(.iso8601)), which is past; set the clock and start again"
      )
    }
    let domain = configuration.trustDomain ?? "swiftlet-" + RandomSource.hex(8)
    let id = "controller-" + RandomSource.hex(4)
    let root = try CertificateAuthority.createRoot(name: "Swiftlet root \(domain)", trustDomain: domain, now: now)
    let signing = try root.createIntermediate(name: "Swiftlet signing \(domain)", trustDomain: domain, now: now)
    // RSA: C SDK 0.29 verifies enrollment tokens with RS256 only (edge-client-api.md 2.2).
    let key = try PrivateKey.generate(.rsa2048)
    let chain = try signing.issueServer(
      publicKey: key.publicKey, commonName: id, names: names,
      uris: [SPIFFEID.controller(id, trustDomain: domain).description], now: now,
      lifetime: configuration.certificateLifetime)
    try PrivateFile.write(root.key.pem, to: directory + "/root.key")
    try PrivateFile.write(root.chain.leaf.pem, to: directory + "/root.pem")
    try PrivateFile.write(signing.key.pem, to: directory + "/signing.key")
    try PrivateFile.write(signing.chain.leaf.pem + root.chain.leaf.pem, to: directory + "/signing.pem")
    try PrivateFile.write(key.pem, to: directory + "/server.key")
    // Last, because its presence says that the others are whole.
    try PrivateFile.write(chain.pem, to: directory + "/server.pem")
  }

  private init(
    authorities: [Certificate], signing: CertificateAuthority, chain: CertificateChain, key: PrivateKey,
    trustDomain: String, directory: String,
    names: [String],
    lifetime: TimeInterval, isSupplied: Bool
  ) async throws {
    guard key.fits(chain.leaf) else { throw PKIError.badPrivateKey("it is not the key of the server certificate") }
    self.authorities = authorities
    signingAuthority = signing
    serverIdentity = try ServerIdentity(chain: chain, key: key)
    self.trustDomain = trustDomain
    controllerID = chain.leaf.commonName ?? "controller"
    var all = authorities
    for certificate in signing.chain.all where !all.contains(certificate) { all.append(certificate) }
    anchors = TrustAnchors(all)
    let sealPath = directory + "/session.key"
    if !PrivateFile.exists(sealPath) { try PrivateFile.write(TokenSeal.newKey() + "\n", to: sealPath) }
    sessionSeal = try TokenSeal(key: PrivateFile.text(sealPath))
    bundle = PKCS7.base64Lines(try PKCS7.certificatesOnly(all))
    bundlePEM = all.map(\.pem).joined()
    server = NIOLockedValueBox(Server(signer: try await TokenSigner(key: key, certificate: chain.leaf)))
    self.directory = directory
    self.names = names
    self.lifetime = lifetime
    self.isSupplied = isSupplied
  }

  /// Whether the server certificate should be renewed now. An operator's own certificate is the operator's to renew.
  func isRenewalDue(now: Date) -> Bool {
    let leaf = serverIdentity.chain.leaf
    // A configuration that advertises another name needs a certificate with it.
    return !isSupplied && (CertificateRenewal.isDue(leaf, now: now) || !names.allSatisfy { leaf.names(host: $0) })
  }

  /// Issues a new certificate for the same key and swaps it in: enrollment tokens already given out still verify,
  /// because SDKs check them with the key.
  /// - Returns: the certificate that was replaced; it must stay published until the last token signed under it has
  ///   expired.
  func renew(now: Date) async throws -> Certificate {
    let key = serverIdentity.key
    let old = serverIdentity.chain.leaf
    let chain = try signingAuthority.issueServer(
      publicKey: key.publicKey, commonName: controllerID, names: names,
      uris: [SPIFFEID.controller(controllerID, trustDomain: trustDomain).description], now: now,
      lifetime: lifetime)
    let signer = try await TokenSigner(key: key, certificate: chain.leaf)
    try PrivateFile.write(chain.pem, to: directory + "/server.pem")
    try serverIdentity.replace(chain: chain, key: key)
    server.withLockedValue { $0 = Server(signer: signer, renewed: $0.renewed + 1) }
    return old
  }
}
