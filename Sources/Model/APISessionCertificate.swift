public import JSON

/// A short-lived certificate issued to an API session (management spec 1.13).
public struct APISessionCertificate: DeclaredEntity {
  public static let isIntent = false

  public let id: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var tags: JSONObject
  public var isSystem: Bool

  public var apiSessionId: String
  public var subject: String
  public var fingerprint: String
  public var validFrom: Timestamp
  public var validTo: Timestamp
  public var pem: String

  public init(
    id: String, apiSessionId: String, subject: String, fingerprint: String, validFrom: Timestamp, validTo: Timestamp,
    pem: String,
    tags: JSONObject = [:], isSystem: Bool = false, createdAt: Timestamp = .epoch, updatedAt: Timestamp = .epoch
  ) {
    self.id = id
    self.apiSessionId = apiSessionId
    self.subject = subject
    self.fingerprint = fingerprint
    self.validFrom = validFrom
    self.validTo = validTo
    self.pem = pem
    self.tags = tags
    self.isSystem = isSystem
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  public func validate() throws(ModelError) {
    try validateBase()
    guard !apiSessionId.isEmpty else {
      throw ModelError(field: "apiSessionId", reason: "apiSessionId is required", value: "")
    }
  }
}

extension APISessionCertificate {
  public static let declaration = Kind<APISessionCertificate>(
    .apiSessionCertificates, "api-session-certificate",
    filters: [
      .text("apiSession", at: "apiSessionId"), .text("subject"), .text("fingerprint"), .datetime("validFrom").unlisted,
      .datetime("validTo").unlisted,
    ],
    indexed: [IndexedMember("apiSessionId"), IndexedMember("fingerprint")])
}
