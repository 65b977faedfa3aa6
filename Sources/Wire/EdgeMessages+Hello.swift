extension EdgeMessages {
  /// The first message of an SDK on a connection (edge-data-plane.md 2.6).
  public struct Hello: TypedMessage {
    public static let contentType = ContentType.hello

    /// Go: the common name of the client certificate; C: the name of the program.
    public var name: String
    /// The API session token, without a `Bearer ` prefix. Absent: to be refused.
    public var token: String?
    public var isGrouped: Bool
    public var isFirstGroupConnection: Bool
    /// Present on the second and later connections of a group.
    public var channelID: String?
    public var underlayType: String?
    public var groupSecret: [UInt8]?
    public var supportsInspect: Bool

    public init(
      name: String, token: String?, isGrouped: Bool = false, isFirstGroupConnection: Bool = false,
      channelID: String? = nil,
      underlayType: String? = nil,
      groupSecret: [UInt8]? = nil, supportsInspect: Bool = false
    ) {
      self.name = name
      self.token = token
      self.isGrouped = isGrouped
      self.isFirstGroupConnection = isFirstGroupConnection
      self.channelID = channelID
      self.underlayType = underlayType
      self.groupSecret = groupSecret
      self.supportsInspect = supportsInspect
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.hello)
      let headers = message.headers
      self.init(
        name: message.text, token: headers.string(.sessionToken), isGrouped: headers.bool(.isGrouped) ?? false,
        isFirstGroupConnection: headers.bool(.isFirstGroupConnection) ?? false, channelID: headers.string(.channelID),
        underlayType: headers.string(.underlayType), groupSecret: headers[.groupSecret],
        supportsInspect: headers.bool(.supportsInspect) ?? false)
    }

    public func message() -> Message {
      var message = Message(contentType: .hello, sequence: -1, body: Array(name.utf8))
      message.headers.setIfPresent(.sessionToken, token)
      message.headers.setIfTrue(.isGrouped, isGrouped)
      message.headers.setIfTrue(.isFirstGroupConnection, isFirstGroupConnection)
      message.headers.setIfPresent(.channelID, channelID)
      message.headers.setIfPresent(.underlayType, underlayType)
      message.headers.setIfPresent(.groupSecret, groupSecret)
      message.headers.setIfTrue(.supportsInspect, supportsInspect)
      return message
    }
  }

  /// The answer of an edge router to a hello. The capability headers belong into the answer to every connection of a
  /// group.
  public struct HelloResult: TypedMessage {
    public static let contentType = ContentType.result

    /// The sequence of the hello: -1, 0 and 1 all occur.
    public var replyFor: Int32
    public var isSuccess: Bool
    public var text: String
    /// C SDKs read a null pointer when it is missing, so a router always sends it with a success.
    public var version: VersionInfo?
    public var channelID: String?
    public var routerID: String?
    public var underlayType: String?
    public var isGrouped: Bool
    /// Belongs to `isGrouped`.
    public var groupSecret: [UInt8]?
    public var supportsBindSuccess: Bool
    public var supportsPostureChecks: Bool
    public var capabilities: CapabilityMask?
    /// 0 unspecified, 1 busy, 2 not permitted.
    public var rejectClass: UInt32?
    public var error: StructuredError?

    public init(
      replyFor: Int32, isSuccess: Bool = true, text: String = "", version: VersionInfo? = nil, channelID: String? = nil,
      routerID: String? = nil,
      underlayType: String? = nil, isGrouped: Bool = false, groupSecret: [UInt8]? = nil,
      supportsBindSuccess: Bool = false,
      supportsPostureChecks: Bool = false, capabilities: CapabilityMask? = nil, rejectClass: UInt32? = nil,
      error: StructuredError? = nil
    ) {
      self.replyFor = replyFor
      self.isSuccess = isSuccess
      self.text = text
      self.version = version
      self.channelID = channelID
      self.routerID = routerID
      self.underlayType = underlayType
      self.isGrouped = isGrouped
      self.groupSecret = groupSecret
      self.supportsBindSuccess = supportsBindSuccess
      self.supportsPostureChecks = supportsPostureChecks
      self.capabilities = capabilities
      self.rejectClass = rejectClass
      self.error = error
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.result)
      let headers = message.headers
      guard let replyFor = headers.int32(.replyFor) else { throw .missingHeader(.replyFor) }
      self.init(
        replyFor: replyFor, isSuccess: headers.bool(.resultSuccess) ?? false, text: message.text,
        version: headers.string(.helloVersion).flatMap { VersionInfo(text: $0) }, channelID: headers.string(.channelID),
        routerID: headers.string(.id),
        underlayType: headers.string(.underlayType), isGrouped: headers.bool(.isGrouped) ?? false,
        groupSecret: headers[.groupSecret],
        supportsBindSuccess: headers.bool(.supportsBindSuccess) ?? false,
        supportsPostureChecks: headers.bool(.supportsPostureChecks) ?? false,
        capabilities: headers[.routerCapabilities].map { CapabilityMask(bytes: $0) },
        rejectClass: headers.uint32(.helloRejectClass),
        error: StructuredError(of: message))
    }

    public func message() -> Message {
      var message = Message(contentType: .result, sequence: -1, body: Array(text.utf8))
      message.replyFor = replyFor
      message.headers.set(.resultSuccess, isSuccess)
      message.headers.setIfPresent(.helloVersion, version?.text)
      message.headers.setIfPresent(.channelID, channelID)
      message.headers.setIfPresent(.id, routerID)
      message.headers.setIfPresent(.underlayType, underlayType)
      message.headers.setIfTrue(.isGrouped, isGrouped)
      message.headers.setIfPresent(.groupSecret, groupSecret)
      message.headers.setIfTrue(.supportsBindSuccess, supportsBindSuccess)
      message.headers.setIfTrue(.supportsPostureChecks, supportsPostureChecks)
      message.headers.setIfPresent(.routerCapabilities, capabilities?.bytes)
      message.headers.setIfPresent(.helloRejectClass, rejectClass)
      error?.attach(to: &message.headers)
      return message
    }
  }
}
