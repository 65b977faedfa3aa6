public import JSON

/// A key that routers verify tokens or client certificates with (management spec 8.3); its id is the `kid`.
public struct PublicKeyRecord: DeclaredEntity {
  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  /// SHA-1 of the certificate, or the key's id.
  public var kid: String
  /// Base64 of the DER.
  public var der: String
  public var format: PublicKeyFormat
  public var usages: [PublicKeyUsage]
  /// End of the certificate.
  public var notAfter: Timestamp?
  /// When routers may forget the key; nil while it is in use.
  public var publishedUntil: Timestamp?

  public init(
    id: String, kid: String, der: String, format: PublicKeyFormat = .x509CertDer, usages: [PublicKeyUsage] = [],
    notAfter: Timestamp? = nil,
    publishedUntil: Timestamp? = nil, tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch,
    updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.kid = kid
    self.der = der
    self.format = format
    self.usages = usages
    self.notAfter = notAfter
    self.publishedUntil = publishedUntil
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateBase()
    guard !kid.isEmpty else { throw ModelError(field: "kid", reason: "kid is required", value: "") }
    guard !der.isEmpty else { throw ModelError(field: "der", reason: "der is required", value: "") }
  }
}

extension PublicKeyRecord {
  public static let declaration = Kind<PublicKeyRecord>(
    .publicKeys, "public-key",
    filters: [
      .text("kid"), .text("format"), .datetime("notAfter"), .datetime("publishedUntil"), .strings("usages"),
    ])
}
