extension EdgeMessages {
  /// What a dialling SDK says of itself and its wishes, the same in Connect and ConnectV2.
  public struct DialOptions: Sendable, Equatable {
    /// Of the end-to-end encryption, 32 or 65 bytes.
    public var publicKey: [UInt8]?
    /// Free text of the client, not authenticated.
    public var callerID: String?
    /// The instance of the service that is wanted; absent means terminators without instance.
    public var terminatorIdentity: String?
    public var appData: [UInt8]?
    /// C SDKs send a trailing NUL, so it is bytes.
    public var connectionMarker: [UInt8]?
    public var stickinessToken: [UInt8]?
    /// nil: not stated.
    public var useXgressToSDK: Bool?

    public init(
      publicKey: [UInt8]? = nil, callerID: String? = nil, terminatorIdentity: String? = nil, appData: [UInt8]? = nil,
      connectionMarker: [UInt8]? = nil,
      stickinessToken: [UInt8]? = nil, useXgressToSDK: Bool? = nil
    ) {
      self.publicKey = publicKey
      self.callerID = callerID
      self.terminatorIdentity = terminatorIdentity
      self.appData = appData
      self.connectionMarker = connectionMarker
      self.stickinessToken = stickinessToken
      self.useXgressToSDK = useXgressToSDK
    }

    init(_ headers: Headers) throws(WireError) {
      self.init(
        publicKey: try headers.item(.publicKey), callerID: try headers.textItem(.callerID),
        terminatorIdentity: try headers.textItem(.terminatorIdentity), appData: try headers.item(.appData),
        connectionMarker: try headers.item(.connectionMarker), stickinessToken: try headers.item(.stickinessToken),
        useXgressToSDK: headers.bool(.useXgressToSDK))
    }

    func write(to headers: inout Headers) {
      headers.setIfPresent(.publicKey, publicKey)
      headers.setIfPresent(.callerID, callerID)
      headers.setIfPresent(.terminatorIdentity, terminatorIdentity)
      headers.setIfPresent(.appData, appData)
      headers.setIfPresent(.connectionMarker, connectionMarker)
      headers.setIfPresent(.stickinessToken, stickinessToken)
      headers.setIfPresent(.useXgressToSDK, useXgressToSDK)
    }

    /// What the hosting side is to see, keyed as peer data of a circuit (edge-data-plane.md 4.2).
    public var peerData: [UInt32: [UInt8]] {
      var data: [UInt32: [UInt8]] = [:]
      data[HeaderID.publicKey.peerDataKey] = publicKey
      data[HeaderID.callerID.peerDataKey] = callerID.map { Array($0.utf8) }
      data[HeaderID.appData.peerDataKey] = appData
      data[HeaderID.connectionMarker.peerDataKey] = connectionMarker
      return data
    }
  }

  /// Opens a connection to a service with a service session.
  public struct Connect: TypedMessage {
    public static let contentType = ContentType.connect

    /// Chosen by the SDK; 0 is valid.
    public var connID: UInt32
    /// Service session token.
    public var token: String
    public var options: DialOptions

    public init(connID: UInt32, token: String, options: DialOptions = DialOptions()) {
      self.connID = connID
      self.token = token
      self.options = options
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.connect)
      self.init(
        connID: try message.headers.required(.connID),
        token: String(decoding: try message.sessionToken(), as: UTF8.self),
        options: try DialOptions(message.headers))
    }

    public func message() -> Message {
      var message = Message(.connect, connID: connID, body: Array(token.utf8))
      options.write(to: &message.headers)
      return message
    }
  }

  /// Opens a connection by service id or name, judged by the router's own model.
  public struct ConnectV2: TypedMessage {
    public static let contentType = ContentType.connectV2

    public enum ServiceIdentifier: Sendable, Equatable {
      case id(String)
      case name(String)
    }

    public var connID: UInt32
    public var service: ServiceIdentifier
    public var options: DialOptions

    public init(connID: UInt32, service: ServiceIdentifier, options: DialOptions = DialOptions(useXgressToSDK: true)) {
      self.connID = connID
      self.service = service
      self.options = options
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.connectV2)
      let text: String = try message.headers.required(.serviceID)
      let service: ServiceIdentifier
      switch message.headers.uint8(.serviceIdentifierType) {
      case nil, 0: service = .id(text)
      case 1: service = .name(text)
      case let other?: throw .badHeader(.serviceIdentifierType, reason: "\(other) is neither 0 (id) nor 1 (name)")
      }
      self.init(
        connID: try message.headers.required(.connID), service: service, options: try DialOptions(message.headers))
    }

    public func message() -> Message {
      var message = Message(.connectV2, connID: connID)
      switch service {
      case .id(let id):
        message.headers.set(.serviceID, id)
        message.headers.set(.serviceIdentifierType, UInt8(0))
      case .name(let name):
        message.headers.set(.serviceID, name)
        message.headers.set(.serviceIdentifierType, UInt8(1))
      }
      options.write(to: &message.headers)
      return message
    }
  }

  /// The answer to Connect and ConnectV2, to Bind, and to DialSuccess in the three-way accept. Never unsolicited.
  public struct StateConnected: TypedMessage {
    public static let contentType = ContentType.stateConnected

    public var replyFor: Int32?
    public var connID: UInt32
    public var circuitID: String?
    /// Of the host; only when the dialler sent its own (edge-data-plane.md 4.2).
    public var publicKey: [UInt8]?
    public var stickinessToken: [UInt8]?
    public var xgress: XgressGrant?
    /// In the answer to a Bind that asked for it.
    public var routerProvidesConnIDs: Bool

    public init(
      replyFor: Int32?, connID: UInt32, circuitID: String? = nil, publicKey: [UInt8]? = nil,
      stickinessToken: [UInt8]? = nil,
      xgress: XgressGrant? = nil,
      routerProvidesConnIDs: Bool = false
    ) {
      self.replyFor = replyFor
      self.connID = connID
      self.circuitID = circuitID
      self.publicKey = publicKey
      self.stickinessToken = stickinessToken
      self.xgress = xgress
      self.routerProvidesConnIDs = routerProvidesConnIDs
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.stateConnected)
      let headers = message.headers
      self.init(
        replyFor: message.replyFor, connID: try headers.required(.connID), circuitID: headers.string(.circuitID),
        publicKey: headers[.publicKey],
        stickinessToken: headers[.stickinessToken], xgress: try XgressGrant(headers),
        routerProvidesConnIDs: headers.bool(.routerProvidedConnID) ?? false)
    }

    public func message() -> Message {
      var message = Message(.stateConnected, connID: connID, replyFor: replyFor)
      message.headers.setIfPresent(.circuitID, circuitID)
      message.headers.setIfPresent(.publicKey, publicKey)
      message.headers.setIfPresent(.stickinessToken, stickinessToken)
      message.headers.setIfTrue(.routerProvidedConnID, routerProvidesConnIDs)
      xgress?.write(to: &message.headers)
      return message
    }
  }

  /// Refuses a request or ends a connection id.
  public struct StateClosed: TypedMessage {
    public static let contentType = ContentType.stateClosed

    /// A C SDK forgets its dial session on exactly this text; any other text, also in lower case, leaves it
    /// (edge-data-plane.md 4.2).
    public static let invalidSessionText = "Invalid Session"

    public var replyFor: Int32?
    /// Absent only in the refusal of a request that had none.
    public var connID: UInt32?
    /// Never empty in a refusal: C SDKs read an empty text as an invalid session.
    public var text: String
    public var circuitID: String?
    public var error: StructuredError?

    public init(
      replyFor: Int32? = nil, connID: UInt32?, text: String, circuitID: String? = nil, error: StructuredError? = nil
    ) {
      self.replyFor = replyFor
      self.connID = connID
      self.text = text
      self.circuitID = circuitID
      self.error = error
    }

    /// The refusal of `request`, with the code in both of its forms.
    public static func refusal(
      of request: Message, text: String, code: EdgeErrorCode, retryHint: RetryHint = .default, circuitID: String? = nil
    )
      -> Self
    {
      StateClosed(
        replyFor: request.sequence, connID: request.headers.uint32(.connID), text: text, circuitID: circuitID,
        error: StructuredError(message: text, code: code, retryHint: retryHint))
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.stateClosed)
      self.init(
        replyFor: message.replyFor, connID: message.headers.uint32(.connID), text: message.text,
        circuitID: message.headers.string(.circuitID),
        error: StructuredError(of: message))
    }

    public func message() -> Message {
      var message = Message(contentType: .stateClosed, body: Array(text.utf8))
      message.replyFor = replyFor
      message.headers.setIfPresent(.connID, connID)
      message.headers.setIfPresent(.circuitID, circuitID)
      error?.attach(to: &message.headers)
      return message
    }
  }

  /// One unit of application or cipher bytes; never merged, split or reordered.
  public struct Data: TypedMessage {
    public static let contentType = ContentType.data

    public var connID: UInt32
    public var flags: EdgeFlags
    /// Header 128, always 16 bytes: C SDKs abort on another length, so such a header is dropped.
    public var uuid: [UInt8]?
    /// Empty only together with `fin`.
    public var body: [UInt8]

    public init(connID: UInt32, flags: EdgeFlags = [], uuid: [UInt8]? = nil, body: [UInt8]) {
      self.connID = connID
      self.flags = flags
      self.uuid = uuid
      self.body = body
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.data)
      self.init(
        connID: try message.headers.required(.connID), flags: EdgeFlags(rawValue: message.headers.uint32(.flags) ?? 0),
        uuid: message.headers[.reflected].flatMap { $0.count == 16 ? $0 : nil }, body: message.body)
    }

    public func message() -> Message {
      var message = Message(.data, connID: connID, body: body)
      if !flags.isEmpty { message.headers.set(.flags, flags.rawValue) }
      message.headers.setIfPresent(.reflected, uuid)
      return message
    }
  }
}
