/// The first message on a router link (fabric-planes.md 6.3). Its ids override those of the channel: header 4 is no
/// version, 5 and 6 are no heartbeats.
public struct LinkHello: TypedMessage {
  public static let contentType = ContentType.hello

  /// Which half of a split link a connection carries.
  public enum Part: UInt8, Sendable {
    case payload = 1
    case acknowledgements = 2
  }

  public var linkID: String
  public var connectionID: String
  /// The dialling router.
  public var routerID: String
  /// Informational: peers write the version of the destination here.
  public var routerVersion: String
  public var binding: String
  public var iteration: UInt32
  public var dialledRouterID: String?
  public var part: Part?
  public var isGrouped: Bool
  public var isFirstGroupConnection: Bool
  public var underlayType: String?
  public var groupSecret: [UInt8]?

  public init(
    linkID: String, connectionID: String, routerID: String, routerVersion: String, binding: String = "",
    iteration: UInt32, dialledRouterID: String?,
    part: Part? = nil, isGrouped: Bool = true, isFirstGroupConnection: Bool = true,
    underlayType: String? = "link.default",
    groupSecret: [UInt8]? = nil
  ) {
    self.linkID = linkID
    self.connectionID = connectionID
    self.routerID = routerID
    self.routerVersion = routerVersion
    self.binding = binding
    self.iteration = iteration
    self.dialledRouterID = dialledRouterID
    self.part = part
    self.isGrouped = isGrouped
    self.isFirstGroupConnection = isFirstGroupConnection
    self.underlayType = underlayType
    self.groupSecret = groupSecret
  }

  public init(parsing message: Message) throws(WireError) {
    try message.expect(.hello)
    let headers = message.headers
    var part: Part?
    if let value = headers.uint8(LinkHeader.part) {
      guard let known = Part(rawValue: value) else {
        throw .badHeader(LinkHeader.part, reason: "\(value) is neither 1 nor 2")
      }
      part = known
    }
    self.init(
      linkID: headers.string(LinkHeader.linkID) ?? message.text,
      connectionID: headers.string(LinkHeader.connectionID) ?? "",
      routerID: try headers.required(LinkHeader.routerID),
      routerVersion: headers.string(LinkHeader.routerVersion) ?? "",
      binding: headers.string(LinkHeader.binding) ?? "", iteration: headers.uint32(LinkHeader.iteration) ?? 0,
      dialledRouterID: headers.string(LinkHeader.dialledRouterID), part: part,
      isGrouped: headers.bool(.isGrouped) ?? false,
      isFirstGroupConnection: headers.bool(.isFirstGroupConnection) ?? false,
      underlayType: headers.string(.underlayType),
      groupSecret: headers[.groupSecret])
  }

  public func message() -> Message {
    var message = Message(contentType: .hello, sequence: -1, body: Array(linkID.utf8))
    message.headers.set(LinkHeader.routerID, routerID)
    message.headers.set(LinkHeader.connectionID, connectionID)
    message.headers.set(LinkHeader.routerVersion, routerVersion)
    message.headers.set(LinkHeader.binding, binding)
    message.headers.setIfPresent(LinkHeader.dialledRouterID, dialledRouterID)
    message.headers.set(LinkHeader.linkID, linkID)
    message.headers.set(LinkHeader.iteration, iteration)
    if let part { message.headers.set(LinkHeader.part, part.rawValue) }
    message.headers.setIfTrue(.isFirstGroupConnection, isFirstGroupConnection)
    message.headers.setIfTrue(.isGrouped, isGrouped)
    message.headers.setIfPresent(.underlayType, underlayType)
    message.headers.setIfPresent(.groupSecret, groupSecret)
    return message
  }
}
