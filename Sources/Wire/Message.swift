/// One message of a channel, as a value: for the control plane and for edge messages other than payload, which is
/// forwarded in place.
public struct Message: Sendable, Equatable {
  public var contentType: ContentType
  /// Assigned by the channel that sends the message.
  public var sequence: Int32
  public var headers: Headers
  public var body: [UInt8]

  public init(contentType: ContentType, sequence: Int32 = 0, headers: Headers = Headers(), body: [UInt8] = []) {
    self.contentType = contentType
    self.sequence = sequence
    self.headers = headers
    self.body = body
  }

  /// The sequence of the request this message answers (header 1).
  public var replyFor: Int32? {
    get {
      // -1 means "not a reply", except in the hello exchange, where the dialler itself looks at the header.
      guard let value = headers.int32(.replyFor) else { return nil }
      return value == -1 && contentType != .result ? nil : value
    }
    set {
      if let newValue { headers.set(.replyFor, newValue) } else { headers[.replyFor] = nil }
    }
  }

  /// The body as text.
  public var text: String { String(decoding: body, as: UTF8.self) }

  public func encoded() -> [UInt8] {
    let header = FrameHeader(
      contentType: contentType, sequence: sequence, headersLength: headers.encodedLength, bodyLength: body.count)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(header.frameLength)
    header.encode(into: &bytes)
    headers.encode(into: &bytes)
    bytes += body
    return bytes
  }

  /// Reads one frame from the start of `frame`.
  /// - Throws: `truncated` when the frame is not whole, and all errors of its header and header records.
  public static func parse(_ frame: UnsafeRawBufferPointer, limits: FrameLimits) throws(WireError) -> Message {
    guard let header = try FrameHeader.parse(frame, limits: limits), frame.count >= header.frameLength else {
      throw .truncated
    }
    let bodyStart = FrameHeader.size + header.headersLength
    return Message(
      contentType: header.contentType, sequence: header.sequence,
      headers: try Headers(parsing: UnsafeRawBufferPointer(rebasing: frame[FrameHeader.size..<bodyStart])),
      body: Array(UnsafeRawBufferPointer(rebasing: frame[bodyStart..<header.frameLength])))
  }

  public init(parsing bytes: [UInt8], limits: FrameLimits = .peer) throws(WireError) {
    let result: Result<Message, WireError> = bytes.withUnsafeBytes { raw in
      do throws(WireError) { return .success(try Message.parse(raw, limits: limits)) } catch { return .failure(error) }
    }
    self = try result.get()
  }

  /// A Result (type 2) that answers `request` (edge-data-plane.md 2.7).
  public static func result(success: Bool, text: String = "", replyTo request: Message) -> Message {
    var message = Message(contentType: .result, body: Array(text.utf8))
    message.replyFor = request.sequence
    message.headers.set(.resultSuccess, success)
    return message
  }
}
