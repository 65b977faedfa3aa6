/// The messages between router and controller that carry headers instead of protobuf (fabric-planes.md 2.2, 2.3, 2.12,
/// 3.3, 3.5). All others are protobuf bodies of `WireSchemas`.
public enum ControlMessages {
  /// A circuit for an SDK with a service session (20218); answered by `CircuitCreated` or `Failure`.
  public struct CreateCircuitV2: TypedMessage {
    public static let contentType = ContentType.createCircuitV2

    public var sessionToken: String
    public var apiSessionToken: String
    /// Lower-case hex of the SHA-1 of the SDK's certificates.
    public var fingerprints: [String]
    public var terminatorInstanceID: String
    public var peerData: [UInt32: [UInt8]]

    public init(
      sessionToken: String, apiSessionToken: String, fingerprints: [String], terminatorInstanceID: String = "",
      peerData: [UInt32: [UInt8]] = [:]
    ) {
      self.sessionToken = sessionToken
      self.apiSessionToken = apiSessionToken
      self.fingerprints = fingerprints
      self.terminatorInstanceID = terminatorInstanceID
      self.peerData = peerData
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.createCircuitV2)
      let headers = message.headers
      let sessionToken: String = try headers.required(ControlHeader.sessionToken)
      guard !sessionToken.isEmpty else { throw .badHeader(ControlHeader.sessionToken, reason: "empty") }
      self.init(
        sessionToken: sessionToken, apiSessionToken: headers.string(ControlHeader.apiSessionToken) ?? "",
        fingerprints: try headers.stringList(ControlHeader.fingerprints) ?? [],
        terminatorInstanceID: headers.string(ControlHeader.terminatorInstance) ?? "",
        peerData: try headers.dataMap(ControlHeader.peerData) ?? [:])
    }

    public func message() -> Message {
      var message = Message(contentType: .createCircuitV2)
      message.headers.set(ControlHeader.sessionToken, sessionToken)
      message.headers.set(ControlHeader.apiSessionToken, apiSessionToken)
      message.headers.set(ControlHeader.fingerprints, list: fingerprints)
      message.headers.set(ControlHeader.terminatorInstance, terminatorInstanceID)
      message.headers.set(ControlHeader.peerData, map: peerData)
      return message
    }
  }

  /// A circuit for an SDK that dialled without a service session (20222).
  public struct CreateCircuitV3: TypedMessage {
    public static let contentType = ContentType.createCircuitV3

    public var apiSessionToken: String
    public var identityID: String
    public var serviceID: String
    public var fingerprints: [String]
    public var terminatorInstanceID: String
    public var peerData: [UInt32: [UInt8]]

    public init(
      apiSessionToken: String, identityID: String, serviceID: String, fingerprints: [String],
      terminatorInstanceID: String = "",
      peerData: [UInt32: [UInt8]] = [:]
    ) {
      self.apiSessionToken = apiSessionToken
      self.identityID = identityID
      self.serviceID = serviceID
      self.fingerprints = fingerprints
      self.terminatorInstanceID = terminatorInstanceID
      self.peerData = peerData
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.createCircuitV3)
      let headers = message.headers
      let identityID: String = try headers.required(ControlHeader.identityID)
      let serviceID: String = try headers.required(ControlHeader.serviceID)
      guard !identityID.isEmpty else { throw .badHeader(ControlHeader.identityID, reason: "empty") }
      guard !serviceID.isEmpty else { throw .badHeader(ControlHeader.serviceID, reason: "empty") }
      self.init(
        apiSessionToken: try headers.required(ControlHeader.apiSessionToken), identityID: identityID,
        serviceID: serviceID,
        fingerprints: try headers.stringList(ControlHeader.fingerprints) ?? [],
        terminatorInstanceID: headers.string(ControlHeader.terminatorInstance) ?? "",
        peerData: try headers.dataMap(ControlHeader.peerData) ?? [:])
    }

    public func message() -> Message {
      var message = Message(contentType: .createCircuitV3)
      message.headers.set(ControlHeader.apiSessionToken, apiSessionToken)
      message.headers.set(ControlHeader.identityID, identityID)
      message.headers.set(ControlHeader.serviceID, serviceID)
      message.headers.set(ControlHeader.fingerprints, list: fingerprints)
      message.headers.set(ControlHeader.terminatorInstance, terminatorInstanceID)
      message.headers.set(ControlHeader.peerData, map: peerData)
      return message
    }
  }

  /// The answer to both (20219, 20223).
  public struct CircuitCreated: Sendable, Equatable {
    public var replyFor: Int32?
    public var circuitID: String
    /// Of the xgress at the ingress router.
    public var address: String
    public var peerData: [UInt32: [UInt8]]
    public var tags: [String: String]

    public init(
      replyFor: Int32?, circuitID: String, address: String, peerData: [UInt32: [UInt8]] = [:],
      tags: [String: String] = [:]
    ) {
      self.replyFor = replyFor
      self.circuitID = circuitID
      self.address = address
      self.peerData = peerData
      self.tags = tags
    }

    public init(parsing message: Message) throws(WireError) {
      guard message.contentType == .createCircuitV2Response || message.contentType == .createCircuitV3Response else {
        throw .unexpectedType(message.contentType)
      }
      let headers = message.headers
      self.init(
        replyFor: message.replyFor, circuitID: try headers.required(ControlHeader.circuitID),
        address: try headers.required(ControlHeader.address),
        peerData: try headers.dataMap(ControlHeader.peerData) ?? [:],
        tags: try headers.stringMap(ControlHeader.tags) ?? [:])
    }

    /// - Parameter request: the type that is answered, `createCircuitV2` or `createCircuitV3`.
    public func message(answering request: ContentType) -> Message {
      var message = Message(
        contentType: request == .createCircuitV3 ? .createCircuitV3Response : .createCircuitV2Response)
      message.replyFor = replyFor
      message.headers.set(ControlHeader.circuitID, circuitID)
      message.headers.set(ControlHeader.address, address)
      message.headers.set(ControlHeader.peerData, map: peerData)
      message.headers.set(ControlHeader.tags, map: tags)
      return message
    }
  }

  /// The failure of an edge request (20002): the body is plain text (fabric-planes.md 2.12).
  public struct Failure: TypedMessage {
    public static let contentType = ContentType.edgeError

    public var replyFor: Int32?
    public var text: String
    public var code: EdgeErrorCode
    public var retryHint: RetryHint
    /// When a circuit id had been given out before the failure.
    public var circuitID: String?

    public init(
      replyFor: Int32?, text: String, code: EdgeErrorCode, retryHint: RetryHint? = nil, circuitID: String? = nil
    ) {
      self.replyFor = replyFor
      self.text = text
      self.code = code
      self.retryHint = retryHint ?? code.usualRetryHint
      self.circuitID = circuitID
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.edgeError)
      let code = message.headers.uint32(.errorCode).flatMap { EdgeErrorCode(rawValue: $0) } ?? .internal
      self.init(
        replyFor: message.replyFor, text: message.text, code: code,
        retryHint: message.headers.uint32(ControlHeader.retryHint).flatMap { RetryHint(rawValue: $0) },
        circuitID: message.headers.string(.circuitID))
    }

    public func message() -> Message {
      var message = Message(contentType: .edgeError, body: Array(text.utf8))
      message.replyFor = replyFor
      message.headers.set(.errorCode, code.rawValue)
      message.headers.set(ControlHeader.retryHint, retryHint.rawValue)
      message.headers.setIfPresent(.circuitID, circuitID)
      return message
    }
  }
}
