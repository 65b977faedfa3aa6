extension EdgeMessages {
  /// Offers to host a service (edge-data-plane.md 4.3).
  public struct Bind: TypedMessage {
    public static let contentType = ContentType.bind

    public var connID: UInt32
    /// Service session token as sent: a Dial repeats these bytes exactly.
    public var token: [UInt8]
    public var publicKey: [UInt8]?
    public var cost: UInt16?
    public var precedence: PrecedenceCode?
    /// The instance that is offered.
    public var terminatorIdentity: String?
    public var terminatorIdentitySecret: [UInt8]?
    /// Without it the SDK chooses the ids of accepted connections and the three-way accept applies.
    public var wantsRouterProvidedConnIDs: Bool
    /// Stable for a listener over all its routers; may be binary.
    public var listenerID: [UInt8]?
    public var supportsInspect: Bool
    public var supportsBindSuccess: Bool
    /// nil: not stated.
    public var useXgressToSDK: Bool?

    public init(
      connID: UInt32, token: [UInt8], publicKey: [UInt8]? = nil, cost: UInt16? = nil, precedence: PrecedenceCode? = nil,
      terminatorIdentity: String? = nil,
      terminatorIdentitySecret: [UInt8]? = nil, wantsRouterProvidedConnIDs: Bool = true, listenerID: [UInt8]? = nil,
      supportsInspect: Bool = false,
      supportsBindSuccess: Bool = false, useXgressToSDK: Bool? = nil
    ) {
      self.connID = connID
      self.token = token
      self.publicKey = publicKey
      self.cost = cost
      self.precedence = precedence
      self.terminatorIdentity = terminatorIdentity
      self.terminatorIdentitySecret = terminatorIdentitySecret
      self.wantsRouterProvidedConnIDs = wantsRouterProvidedConnIDs
      self.listenerID = listenerID
      self.supportsInspect = supportsInspect
      self.supportsBindSuccess = supportsBindSuccess
      self.useXgressToSDK = useXgressToSDK
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.bind)
      let headers = message.headers
      self.init(
        connID: try headers.required(.connID), token: try message.sessionToken(),
        publicKey: try headers.item(.publicKey),
        cost: headers.uint16(.cost),
        precedence: try headers.precedence(), terminatorIdentity: try headers.textItem(.terminatorIdentity),
        terminatorIdentitySecret: try headers.item(.terminatorIdentitySecret),
        wantsRouterProvidedConnIDs: headers.bool(.routerProvidedConnID) ?? false,
        listenerID: try headers.item(.listenerID), supportsInspect: headers.bool(.supportsInspect) ?? false,
        supportsBindSuccess: headers.bool(.supportsBindSuccess) ?? false, useXgressToSDK: headers.bool(.useXgressToSDK))
    }

    public var tokenText: String { String(decoding: token, as: UTF8.self) }

    public func message() -> Message {
      var message = Message(.bind, connID: connID, body: token)
      message.headers.setIfPresent(.publicKey, publicKey)
      message.headers.setIfPresent(.cost, cost)
      message.headers.setIfPresent(.precedence, precedence)
      message.headers.setIfPresent(.terminatorIdentity, terminatorIdentity)
      message.headers.setIfPresent(.terminatorIdentitySecret, terminatorIdentitySecret)
      message.headers.setIfTrue(.routerProvidedConnID, wantsRouterProvidedConnIDs)
      message.headers.setIfPresent(.listenerID, listenerID)
      message.headers.setIfTrue(.supportsInspect, supportsInspect)
      message.headers.setIfTrue(.supportsBindSuccess, supportsBindSuccess)
      message.headers.setIfPresent(.useXgressToSDK, useXgressToSDK)
      return message
    }
  }

  /// Ends hosting. C SDKs wait for an answer, which is a StateClosed (edge-data-plane.md 9.5).
  public struct Unbind: TypedMessage {
    public static let contentType = ContentType.unbind
    /// The text of the answer.
    public static let answerText = "unbound"

    public var connID: UInt32
    public var token: [UInt8]
    public var listenerID: [UInt8]?

    public init(connID: UInt32, token: [UInt8], listenerID: [UInt8]? = nil) {
      self.connID = connID
      self.token = token
      self.listenerID = listenerID
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.unbind)
      self.init(
        connID: try message.headers.required(.connID), token: message.body, listenerID: message.headers[.listenerID])
    }

    public func message() -> Message {
      var message = Message(.unbind, connID: connID, body: token)
      message.headers.setIfPresent(.listenerID, listenerID)
      return message
    }
  }

  /// Changes cost and precedence of all terminators of a bind conn. No answer on success.
  public struct UpdateBind: TypedMessage {
    public static let contentType = ContentType.updateBind

    public var connID: UInt32
    public var token: [UInt8]
    public var cost: UInt16?
    public var precedence: PrecedenceCode?

    public init(connID: UInt32, token: [UInt8], cost: UInt16? = nil, precedence: PrecedenceCode? = nil) {
      self.connID = connID
      self.token = token
      self.cost = cost
      self.precedence = precedence
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.updateBind)
      self.init(
        connID: try message.headers.required(.connID), token: message.body, cost: message.headers.uint16(.cost),
        precedence: try message.headers.precedence())
    }

    public func message() -> Message {
      var message = Message(.updateBind, connID: connID, body: token)
      message.headers.setIfPresent(.cost, cost)
      message.headers.setIfPresent(.precedence, precedence)
      return message
    }
  }

  /// The outcome of a health check of the hosted application. No answer.
  public struct HealthEvent: TypedMessage {
    public static let contentType = ContentType.healthEvent

    public var connID: UInt32
    public var token: [UInt8]
    public var isHealthy: Bool

    public init(connID: UInt32, token: [UInt8], isHealthy: Bool) {
      self.connID = connID
      self.token = token
      self.isHealthy = isHealthy
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.healthEvent)
      guard let isHealthy = message.headers.bool(.healthStatus) else { throw .missingHeader(.healthStatus) }
      self.init(connID: try message.headers.required(.connID), token: message.body, isHealthy: isHealthy)
    }

    public func message() -> Message {
      var message = Message(.healthEvent, connID: connID, body: token)
      message.headers.set(.healthStatus, isHealthy)
      return message
    }
  }

  /// Asks a hosting SDK to accept a connection (edge-data-plane.md 4.4).
  public struct Dial: TypedMessage {
    public static let contentType = ContentType.dial

    /// Ids that a router gives out: this one and above.
    public static let firstRouterProvidedConnID: UInt32 = 0x8000_0000

    /// Of the bind.
    public var connID: UInt32
    /// The body of the Bind, byte for byte: a Go SDK refuses any other.
    public var token: [UInt8]
    /// The id of the new connection, when the Bind asked for ids of the router.
    public var newConnID: UInt32?
    public var circuitID: String?
    /// Of the dialler; C SDKs refuse an encrypted service without it.
    public var publicKey: [UInt8]?
    /// Always sent, may be empty.
    public var callerID: String
    public var appData: [UInt8]?
    public var connectionMarker: [UInt8]?
    /// Authenticated, set by routers.
    public var dialerIdentityID: String?
    public var dialerIdentityName: String?
    public var xgress: XgressGrant?

    public init(
      connID: UInt32, token: [UInt8], newConnID: UInt32? = nil, circuitID: String? = nil, publicKey: [UInt8]? = nil,
      callerID: String = "",
      appData: [UInt8]? = nil, connectionMarker: [UInt8]? = nil, dialerIdentityID: String? = nil,
      dialerIdentityName: String? = nil,
      xgress: XgressGrant? = nil
    ) {
      self.connID = connID
      self.token = token
      self.newConnID = newConnID
      self.circuitID = circuitID
      self.publicKey = publicKey
      self.callerID = callerID
      self.appData = appData
      self.connectionMarker = connectionMarker
      self.dialerIdentityID = dialerIdentityID
      self.dialerIdentityName = dialerIdentityName
      self.xgress = xgress
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.dial)
      let headers = message.headers
      self.init(
        connID: try headers.required(.connID), token: message.body, newConnID: headers.uint32(.routerProvidedConnID),
        circuitID: headers.string(.circuitID),
        publicKey: headers[.publicKey], callerID: headers.string(.callerID) ?? "", appData: headers[.appData],
        connectionMarker: headers[.connectionMarker], dialerIdentityID: headers.string(.dialerIdentityID),
        dialerIdentityName: headers.string(.dialerIdentityName), xgress: try XgressGrant(headers))
    }

    public func message() -> Message {
      var message = Message(.dial, connID: connID, body: token)
      message.headers.set(.callerID, callerID)
      message.headers.setIfPresent(.routerProvidedConnID, newConnID)
      message.headers.setIfPresent(.circuitID, circuitID)
      message.headers.setIfPresent(.publicKey, publicKey)
      message.headers.setIfPresent(.appData, appData)
      message.headers.setIfPresent(.connectionMarker, connectionMarker)
      message.headers.setIfPresent(.dialerIdentityID, dialerIdentityID)
      message.headers.setIfPresent(.dialerIdentityName, dialerIdentityName)
      xgress?.write(to: &message.headers)
      return message
    }
  }

  /// A hosting SDK accepted a Dial.
  public struct DialSuccess: TypedMessage {
    public static let contentType = ContentType.dialSuccess

    public var replyFor: Int32?
    /// Of the bind.
    public var connID: UInt32
    /// The new connection: the id of the Dial, or one that the SDK chose.
    public var newConnID: UInt32
    /// A key of this connection alone; it wins over the key of the Bind.
    public var publicKey: [UInt8]?

    public init(replyFor: Int32?, connID: UInt32, newConnID: UInt32, publicKey: [UInt8]? = nil) {
      self.replyFor = replyFor
      self.connID = connID
      self.newConnID = newConnID
      self.publicKey = publicKey
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.dialSuccess)
      guard message.body.count == 4 else { throw .badBody("\(message.body.count) bytes instead of a conn id of 4") }
      self.init(
        replyFor: message.replyFor, connID: try message.headers.required(.connID),
        newConnID: message.body.withUnsafeBytes { u32($0, 0) },
        publicKey: try message.headers.item(.publicKey))
    }

    public func message() -> Message {
      var body: [UInt8] = []
      appendU32(newConnID, to: &body)
      var message = Message(.dialSuccess, connID: connID, replyFor: replyFor, body: body)
      message.headers.setIfPresent(.publicKey, publicKey)
      return message
    }
  }

  /// A hosting SDK refused a Dial. Matched by `replyFor` alone: the conn id may be 0.
  public struct DialFailed: TypedMessage {
    public static let contentType = ContentType.dialFailed

    public var replyFor: Int32?
    public var connID: UInt32
    public var text: String

    public init(replyFor: Int32?, connID: UInt32, text: String) {
      self.replyFor = replyFor
      self.connID = connID
      self.text = text
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.dialFailed)
      self.init(replyFor: message.replyFor, connID: message.headers.uint32(.connID) ?? 0, text: message.text)
    }

    public func message() -> Message {
      Message(.dialFailed, connID: connID, replyFor: replyFor, body: Array(text.utf8))
    }
  }

  /// The terminator of a bind exists at the controller. Only for SDKs that asked.
  public struct BindSuccess: TypedMessage {
    public static let contentType = ContentType.bindSuccess

    public var connID: UInt32

    public init(connID: UInt32) { self.connID = connID }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.bindSuccess)
      self.init(connID: try message.headers.required(.connID))
    }

    public func message() -> Message { Message(.bindSuccess, connID: connID) }
  }

  /// Asks an SDK whether it still hosts a bind conn. Only when the Bind said it answers.
  public struct ConnInspectRequest: TypedMessage {
    public static let contentType = ContentType.connInspectRequest

    public var connID: UInt32

    public init(connID: UInt32) { self.connID = connID }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.connInspectRequest)
      self.init(connID: try message.headers.required(.connID))
    }

    public func message() -> Message { Message(.connInspectRequest, connID: connID) }
  }

  /// Its answer. Some Go SDKs use the content type of InspectResponse and conn id 0, so both are accepted
  /// (edge-data-plane.md 9.5, 39).
  public struct ConnInspectResponse: TypedMessage {
    public static let contentType = ContentType.connInspectResponse

    public var replyFor: Int32?
    public var connID: UInt32
    /// For a bind conn everything but `bind` means that the terminator is dead.
    public var connType: ConnType
    public var text: String

    public init(replyFor: Int32?, connID: UInt32, connType: ConnType, text: String = "") {
      self.replyFor = replyFor
      self.connID = connID
      self.connType = connType
      self.text = text
    }

    public init(parsing message: Message) throws(WireError) {
      guard message.contentType == .connInspectResponse || message.contentType == .inspectResponse else {
        throw .unexpectedType(message.contentType)
      }
      guard let type = message.headers.uint8(.connType) else { throw .missingHeader(.connType) }
      self.init(
        replyFor: message.replyFor, connID: message.headers.uint32(.connID) ?? 0,
        connType: ConnType(rawValue: type) ?? .unknown, text: message.text)
    }

    public func message() -> Message {
      var message = Message(.connInspectResponse, connID: connID, replyFor: replyFor, body: Array(text.utf8))
      message.headers.set(.connType, connType.rawValue)
      return message
    }
  }
}
