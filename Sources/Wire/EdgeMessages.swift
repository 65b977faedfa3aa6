/// The messages between an SDK and an edge router as typed values (edge-data-plane.md 3.9). Parsers take what old SDKs
/// send (4-byte cost and precedence, conn id 0, binary listener ids); builders write what every SDK reads. Header 1009
/// (crypto method) is never written and never forwarded, because Go and C SDKs refuse each other's form (9.2).
public enum EdgeMessages {}

/// A message that is more than type, headers and body.
public protocol TypedMessage: Sendable, Equatable {
  static var contentType: ContentType { get }
  /// - Throws: `unexpectedType`, `missingHeader`, `badHeader` or `badBody`.
  init(parsing message: Message) throws(WireError)
  /// The message to send; the channel assigns its sequence.
  func message() -> Message
}

/// What a router grants an end that does its own flow control (headers 1028 = 1, 1029, 1030; edge-data-plane.md 4.11).
public struct XgressGrant: Sendable, Equatable {
  /// The controller that owns the circuit.
  public var controllerID: String
  /// The address of this end.
  public var address: String

  public init(controllerID: String, address: String) {
    self.controllerID = controllerID
    self.address = address
  }

  init?(_ headers: Headers) throws(WireError) {
    guard headers.bool(.useXgressToSDK) == true else { return nil }
    self.init(controllerID: try headers.required(.xgressCtrlID), address: try headers.required(.xgressAddress))
  }

  func write(to headers: inout Headers) {
    headers.set(.useXgressToSDK, true)
    headers.set(.xgressCtrlID, controllerID)
    headers.set(.xgressAddress, address)
  }
}

/// Pieces of the messages, used by all of them.
extension Headers {
  func required(_ id: HeaderID) throws(WireError) -> String {
    guard let value = string(id) else { throw .missingHeader(id) }
    return value
  }

  func required(_ id: HeaderID) throws(WireError) -> UInt32 {
    guard let value = self[id] else { throw .missingHeader(id) }
    guard let number = uint32(id) else { throw .badHeader(id, bytes: value.count) }
    return number
  }

  /// Bytes that go on in a map of a circuit message, which takes no longer ones.
  func item(_ id: HeaderID) throws(WireError) -> [UInt8]? {
    guard let value = self[id] else { return nil }
    guard value.count <= Headers.itemSizeLimit else {
      throw .badHeader(id, reason: "\(value.count) bytes, at most \(Headers.itemSizeLimit)")
    }
    return value
  }

  func textItem(_ id: HeaderID) throws(WireError) -> String? {
    try item(id).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The precedence, from the first byte.
  func precedence() throws(WireError) -> PrecedenceCode? {
    guard let value = uint8(.precedence) else { return nil }
    guard let precedence = PrecedenceCode(rawValue: value) else {
      throw .badHeader(.precedence, reason: "\(value) is not 0, 1 or 2")
    }
    return precedence
  }

  mutating func setIfPresent(_ id: HeaderID, _ value: [UInt8]?) { if let value { set(id, value) } }
  mutating func setIfPresent(_ id: HeaderID, _ value: String?) { if let value { set(id, value) } }
  mutating func setIfPresent(_ id: HeaderID, _ value: UInt16?) { if let value { set(id, value) } }
  mutating func setIfPresent(_ id: HeaderID, _ value: UInt32?) { if let value { set(id, value) } }
  mutating func setIfPresent(_ id: HeaderID, _ value: PrecedenceCode?) { if let value { set(id, value.rawValue) } }
  mutating func setIfPresent(_ id: HeaderID, _ value: Bool?) { if let value { set(id, value) } }
  /// Booleans whose absence means false are not written when false.
  mutating func setIfTrue(_ id: HeaderID, _ value: Bool) { if value { set(id, true) } }
}

extension Message {
  func expect(_ type: ContentType) throws(WireError) {
    guard contentType == type else { throw .unexpectedType(contentType) }
  }

  /// A service session token: a body that goes on to the controller and comes back in every Dial (about 1 KB).
  func sessionToken() throws(WireError) -> [UInt8] {
    guard body.count <= Headers.itemSizeLimit else {
      throw .badBody("a token of \(body.count) bytes, at most \(Headers.itemSizeLimit)")
    }
    return body
  }

  init(_ type: ContentType, connID: UInt32, replyFor: Int32? = nil, body: [UInt8] = []) {
    self.init(contentType: type, body: body)
    self.replyFor = replyFor
    headers.set(.connID, connID)
  }
}
