// PKI: keys, certificates and tokens: issuing by the network's profiles, judging chains by purpose, signing requests,
// CA bundles, enrollment and session tokens. It opens no socket and stores nothing. Start reading at
// `CertificateAuthority`, `TrustAnchors` and `TokenSigner`.

import Crypto
public import Foundation
import SwiftASN1
public import X509

/// An authority that signs certificates by the profiles of edge-client-api.md 2.1.
public struct CertificateAuthority: Sendable {
  /// The authority's own certificate and those above it.
  public let chain: CertificateChain
  public let key: PrivateKey

  /// Lifetimes of what an authority issues.
  public enum Lifetime {
    public static let year: TimeInterval = 365 * 24 * 3600
    public static let apiSession: TimeInterval = 12 * 3600
    /// Clocks of peers may lag a little.
    public static let backdate: TimeInterval = 60
    /// An authority's own certificate begins that long before it was made. Nothing hangs on its beginning, and a
    /// network whose first start had a clock a year ahead works once the clock is right.
    static let authorityBackdate: TimeInterval = 2 * year
  }

  /// - Throws: when the key is not the certificate's, or the certificate is not an authority's.
  public init(chain: CertificateChain, key: PrivateKey) throws(PKIError) {
    guard key.fits(chain.leaf) else {
      throw .badPrivateKey("it is not the key of the CA certificate \(chain.leaf.subject)")
    }
    guard chain.leaf.isAuthority else { throw .badCertificate("\(chain.leaf.subject) is not a CA certificate") }
    self.chain = chain
    self.key = key
  }

  public static func createRoot(name: String, trustDomain: String, algorithm: KeyAlgorithm = .p384, now: Date) throws
    -> CertificateAuthority
  {
    let key = try PrivateKey.generate(algorithm)
    let subject = try DistinguishedName { CommonName(name) }
    let certificate = try Certificate(
      version: .v3, serialNumber: serial(), publicKey: key.publicKey, notValidBefore: now - Lifetime.authorityBackdate,
      notValidAfter: now + 10 * Lifetime.year,
      issuer: subject, subject: subject,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: key.publicKey)
        SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(trustDomain)")])
      }, issuerPrivateKey: key.signing)
    return try CertificateAuthority(chain: CertificateChain(leaf: certificate), key: key)
  }

  public func createIntermediate(name: String, trustDomain: String, algorithm: KeyAlgorithm = .p256, now: Date) throws
    -> CertificateAuthority
  {
    let subordinate = try PrivateKey.generate(algorithm)
    let certificate = try Certificate(
      version: .v3, serialNumber: Self.serial(), publicKey: subordinate.publicKey,
      notValidBefore: max(now - Lifetime.authorityBackdate, chain.leaf.notValidBefore),
      notValidAfter: min(now + 10 * Lifetime.year, chain.leaf.notValidAfter), issuer: chain.leaf.subject,
      subject: try DistinguishedName { CommonName(name) },
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: subordinate.publicKey)
        AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: chain.leaf.publicKey).keyIdentifier)
        SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(trustDomain)")])
      }, issuerPrivateKey: key.signing)
    return try CertificateAuthority(
      chain: CertificateChain(leaf: certificate, intermediates: chain.all), key: subordinate)
  }

  // MARK: Profiles

  /// A client certificate of an identity: subject from the request, exactly one SAN, the identity's SPIFFE id.
  public func issueIdentity(
    publicKey: Certificate.PublicKey, subject: DistinguishedName?, identityID: String, trustDomain: String, now: Date,
    lifetime: TimeInterval = Lifetime.year
  ) throws -> CertificateChain {
    try issue(
      publicKey: publicKey, subject: try subject ?? DistinguishedName { CommonName(identityID) },
      names: [.uniformResourceIdentifier(SPIFFEID.identity(identityID, trustDomain: trustDomain).description)],
      usage: .clientAuth, now: now,
      lifetime: lifetime)
  }

  /// A client certificate for one API session.
  public func issueAPISession(
    publicKey: Certificate.PublicKey, identityID: String, apiSessionID: String, certificateID: String,
    trustDomain: String, now: Date
  ) throws -> CertificateChain {
    let id = SPIFFEID.apiSession(
      apiSessionID, identity: identityID, certificate: certificateID, trustDomain: trustDomain)
    return try issue(
      publicKey: publicKey, subject: try DistinguishedName { CommonName(identityID) },
      names: [.uniformResourceIdentifier(id.description)],
      usage: .clientAuth,
      now: now, lifetime: Lifetime.apiSession)
  }

  /// A router's client certificate. Of the request only key and subject are taken.
  ///
  /// - Parameters:
  ///   - routerID: must be the common name of the request, because the control hello is bound to it (fabric-planes.md
  ///     1.4).
  ///   - names: host names and addresses that the router may have, whatever it asked for.
  public func issueRouterClient(
    _ request: CSR, routerID: String, names: [String], now: Date, lifetime: TimeInterval = Lifetime.year
  ) throws -> CertificateChain {
    try issueRouter(request, routerID, names.map(GeneralName.host), usage: .clientAuth, now: now, lifetime: lifetime)
  }

  /// A router's server certificate.
  ///
  /// - Parameter trustDomain: marks the certificate as a router's, by the SPIFFE id `/router/<id>`: no client of ours
  ///   takes it for a controller's. nil leaves the mark out, in networks whose controllers have no SPIFFE id either.
  public func issueRouterServer(
    _ request: CSR, routerID: String, names: [String], trustDomain: String?, now: Date,
    lifetime: TimeInterval = Lifetime.year
  ) throws -> CertificateChain {
    let mark = trustDomain.map {
      GeneralName.uniformResourceIdentifier(SPIFFEID.router(routerID, trustDomain: $0).description)
    }
    return try issueRouter(
      request, routerID, names.map(GeneralName.host) + [mark].compactMap(\.self), usage: .serverAuth, now: now,
      lifetime: lifetime)
  }

  private func issueRouter(
    _ request: CSR, _ routerID: String, _ names: [GeneralName], usage: ExtendedKeyUsage.Usage, now: Date,
    lifetime: TimeInterval
  ) throws -> CertificateChain {
    guard request.commonName == routerID else {
      throw PKIError.badCSR("its only common name must be the router's id, \(routerID)")
    }
    return try issue(
      publicKey: request.publicKey, subject: request.subject, names: names, usage: usage, now: now, lifetime: lifetime)
  }

  /// A server certificate for the host names and IP addresses under which it is reached.
  public func issueServer(
    publicKey: Certificate.PublicKey, commonName: String? = nil, names: [String], uris: [String], now: Date,
    lifetime: TimeInterval = Lifetime.year
  ) throws -> CertificateChain {
    let subject = try DistinguishedName { CommonName(commonName ?? names.first ?? "server") }
    return try issue(
      publicKey: publicKey, subject: subject,
      names: names.map(GeneralName.host) + uris.map { .uniformResourceIdentifier($0) }, usage: .serverAuth,
      now: now,
      lifetime: lifetime)
  }

  private func issue(
    publicKey: Certificate.PublicKey, subject: DistinguishedName, names: [GeneralName], usage: ExtendedKeyUsage.Usage,
    now: Date,
    lifetime: TimeInterval
  ) throws -> CertificateChain {
    guard chain.leaf.isValid(at: now) else {
      throw PKIError.authorityNotValid(from: chain.leaf.notValidBefore, until: chain.leaf.notValidAfter)
    }
    let certificate = try Certificate(
      version: .v3, serialNumber: Self.serial(), publicKey: publicKey, notValidBefore: now - Lifetime.backdate,
      notValidAfter: min(now + lifetime, chain.leaf.notValidAfter), issuer: chain.leaf.subject, subject: subject,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true, keyEncipherment: true, dataEncipherment: true))
        try ExtendedKeyUsage([usage])
        SubjectKeyIdentifier(hash: publicKey)
        AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: chain.leaf.publicKey).keyIdentifier)
        if !names.isEmpty { SubjectAlternativeNames(names) }
      }, issuerPrivateKey: key.signing)
    return CertificateChain(leaf: certificate, intermediates: chain.all.filter { $0.issuer != $0.subject })
  }

  /// Random, positive, 159 bits.
  private static func serial() -> Certificate.SerialNumber {
    var bytes = RandomSource.bytes(20)
    bytes[0] = bytes[0] & 0x7f | 0x40
    return Certificate.SerialNumber(bytes: bytes)
  }
}

extension GeneralName {
  /// An IP address when the text is one, else a DNS name.
  static func host(_ text: String) -> GeneralName {
    IPAddressText.octets(text).map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) } ?? .dnsName(text)
  }
}

/// IP literals without the resolver.
public enum IPAddressText {
  /// The four or sixteen bytes of an IP literal, nil for anything else.
  public static func octets(_ text: String) -> [UInt8]? {
    // The system would read as far as a NUL.
    guard !text.utf8.contains(0) else { return nil }
    var v4 = in_addr()
    if inet_pton(AF_INET, text, &v4) == 1 { return withUnsafeBytes(of: v4) { Array($0) } }
    var v6 = in6_addr()
    if inet_pton(AF_INET6, text, &v6) == 1 { return withUnsafeBytes(of: v6) { Array($0) } }
    return nil
  }

  /// The literal of four or sixteen bytes, nil for any other count.
  public static func text(_ octets: [UInt8]) -> String? {
    let family = octets.count == 4 ? AF_INET : AF_INET6
    guard octets.count == 4 || octets.count == 16 else { return nil }
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard inet_ntop(family, octets, &buffer, socklen_t(buffer.count)) != nil else { return nil }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

/// When a certificate is due for renewal.
public enum CertificateRenewal {
  /// At two thirds of its life: months before a yearly certificate ends, and early enough for an hourly one.
  public static func dueDate(_ certificate: Certificate) -> Date {
    certificate.notValidBefore + certificate.notValidAfter.timeIntervalSince(certificate.notValidBefore) * 2 / 3
  }
  /// Also while the certificate is not valid yet: it was issued by a clock that ran ahead.
  public static func isDue(_ certificate: Certificate, now: Date) -> Bool {
    now >= dueDate(certificate) || now < certificate.notValidBefore
  }
}
