extension ControlMessages {
  /// The first message of a router on its control channel (fabric-planes.md 2.2).
  public struct RouterHello: TypedMessage {
    public static let contentType = ContentType.hello

    public var routerID: String
    /// Peers refuse a hello without five fields.
    public var version: VersionInfo
    public var capabilities: CapabilityMask
    /// Protobuf `CtrlListeners`: the link listeners.
    public var listeners: [UInt8]?
    /// Protobuf `CtrlCtrlChanListeners`.
    public var ctrlChanListeners: [UInt8]?
    public var isGrouped: Bool
    public var isFirstGroupConnection: Bool
    /// Absent on the first connection of a group.
    public var channelID: String?
    public var groupSecret: [UInt8]?
    public var underlayType: String?

    public init(
      routerID: String, version: VersionInfo, capabilities: CapabilityMask, listeners: [UInt8]? = nil,
      ctrlChanListeners: [UInt8]? = nil,
      isGrouped: Bool = true, isFirstGroupConnection: Bool = true, channelID: String? = nil,
      groupSecret: [UInt8]? = nil,
      underlayType: String? = "ctrl.default"
    ) {
      self.routerID = routerID
      self.version = version
      self.capabilities = capabilities
      self.listeners = listeners
      self.ctrlChanListeners = ctrlChanListeners
      self.isGrouped = isGrouped
      self.isFirstGroupConnection = isFirstGroupConnection
      self.channelID = channelID
      self.groupSecret = groupSecret
      self.underlayType = underlayType
    }

    /// Reads hellos of 2.x routers, and of 1.x routers with their other ids: without capability 1 in header 1002 the
    /// listeners are in header 10 and headers 10 and 11 say nothing of groups.
    public init(parsing message: Message) throws(WireError) {
      try message.expect(.hello)
      let headers = message.headers
      guard let version = VersionInfo(text: try headers.required(.helloVersion)) else {
        throw .badHeader(.helloVersion, reason: "not five fields joined by a vertical bar")
      }
      let mask = headers[ControlHeader.capabilities].map { CapabilityMask(bytes: $0) }
      if let mask, mask.contains(RouterCapability.multiChannel) {
        self.init(
          routerID: message.text, version: version, capabilities: mask, listeners: headers[ControlHeader.listeners],
          ctrlChanListeners: headers[ControlHeader.ctrlChanListeners], isGrouped: headers.bool(.isGrouped) ?? false,
          isFirstGroupConnection: headers.bool(.isFirstGroupConnection) ?? false, channelID: headers.string(.channelID),
          groupSecret: headers[.groupSecret],
          underlayType: headers.string(.underlayType))
      } else {
        self.init(
          routerID: message.text, version: version,
          capabilities: mask ?? headers[ControlHeader.legacyCapabilities].map { CapabilityMask(bytes: $0) }
            ?? CapabilityMask(),
          listeners: headers[ControlHeader.listeners] ?? headers[.groupSecret], isGrouped: false,
          isFirstGroupConnection: false, underlayType: nil)
      }
    }

    public func message() -> Message {
      var message = Message(contentType: .hello, sequence: -1, body: Array(routerID.utf8))
      message.headers.set(.helloVersion, version.text)
      message.headers.set(ControlHeader.capabilities, capabilities.bytes)
      message.headers.setIfPresent(ControlHeader.listeners, listeners)
      message.headers.setIfPresent(ControlHeader.ctrlChanListeners, ctrlChanListeners)
      message.headers.setIfTrue(.isGrouped, isGrouped)
      message.headers.setIfPresent(.underlayType, underlayType)
      message.headers.setIfTrue(.isFirstGroupConnection, isFirstGroupConnection)
      message.headers.setIfPresent(.channelID, channelID)
      message.headers.setIfPresent(.groupSecret, groupSecret)
      return message
    }
  }

  /// The answer of a controller (fabric-planes.md 2.3).
  public struct ControllerHelloResult: TypedMessage {
    public static let contentType = ContentType.result

    public var replyFor: Int32
    public var isSuccess: Bool
    public var text: String
    public var version: VersionInfo
    public var controllerID: String
    public var capabilities: CapabilityMask
    public var channelID: String
    public var isGrouped: Bool
    public var underlayType: String?
    /// Required with `isGrouped`: Go routers refuse the channel without it.
    public var groupSecret: [UInt8]?

    public init(
      replyFor: Int32, isSuccess: Bool = true, text: String = "", version: VersionInfo, controllerID: String,
      capabilities: CapabilityMask,
      channelID: String, isGrouped: Bool = false, underlayType: String? = nil, groupSecret: [UInt8]? = nil
    ) {
      self.replyFor = replyFor
      self.isSuccess = isSuccess
      self.text = text
      self.version = version
      self.controllerID = controllerID
      self.capabilities = capabilities
      self.channelID = channelID
      self.isGrouped = isGrouped
      self.underlayType = underlayType
      self.groupSecret = groupSecret
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.result)
      let headers = message.headers
      guard let replyFor = headers.int32(.replyFor) else { throw .missingHeader(.replyFor) }
      let isSuccess = headers.bool(.resultSuccess) ?? false
      guard isSuccess else { throw .badBody("the controller refused: \(message.text)") }
      guard let version = VersionInfo(text: try headers.required(.helloVersion)) else {
        throw .badHeader(.helloVersion, reason: "not five fields joined by a vertical bar")
      }
      self.init(
        replyFor: replyFor, isSuccess: isSuccess, text: message.text, version: version,
        controllerID: try headers.required(.id),
        capabilities: CapabilityMask(
          bytes: headers[ControlHeader.capabilities] ?? headers[ControlHeader.legacyCapabilities] ?? []),
        channelID: headers.string(.channelID) ?? "", isGrouped: headers.bool(.isGrouped) ?? false,
        underlayType: headers.string(.underlayType),
        groupSecret: headers[.groupSecret])
    }

    public func message() -> Message {
      var message = Message(contentType: .result, sequence: -1, body: Array(text.utf8))
      message.replyFor = replyFor
      message.headers.set(.resultSuccess, isSuccess)
      message.headers.set(.channelID, channelID)
      message.headers.set(.helloVersion, version.text)
      message.headers.set(.id, controllerID)
      message.headers.setIfTrue(.isGrouped, isGrouped)
      message.headers.setIfPresent(.underlayType, underlayType)
      message.headers.setIfPresent(.groupSecret, groupSecret)
      // Twice: the first for 1.x routers.
      message.headers.set(ControlHeader.legacyCapabilities, capabilities.bytes)
      message.headers.set(ControlHeader.capabilities, capabilities.bytes)
      return message
    }
  }
}
