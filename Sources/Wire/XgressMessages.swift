/// Payloads, acknowledgements, control and close messages of circuits, on links and towards SDKs that do their own flow
/// control (edge-data-plane.md 6, fabric-planes.md 7.1).
public enum XgressMessages {}

/// Flags of a payload or acknowledgement (header 2258).
public struct XgressFlags: OptionSet, Sendable, Hashable {
  public let rawValue: UInt32
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Both directions end.
  public static let circuitEnd = XgressFlags(rawValue: 1)
  /// The sender is the terminating side.
  public static let originator = XgressFlags(rawValue: 2)
  public static let circuitStart = XgressFlags(rawValue: 4)
  public static let chunk = XgressFlags(rawValue: 8)
  public static let retransmit = XgressFlags(rawValue: 16)
  /// The direction of the sender ends.
  public static let eof = XgressFlags(rawValue: 32)
  /// The sender can no longer deliver to its application.
  public static let writeFailed = XgressFlags(rawValue: 64)
}

extension XgressMessages {
  public struct Payload: TypedMessage {
    public static let contentType = ContentType.xgPayload

    /// Keys of payload headers.
    public static let uuidKey: UInt8 = 0
    public static let capabilitiesKey: UInt8 = 1
    public static let edgeFlagsKey: UInt8 = 0x10
    /// The value of the capability header of an end that understands `eof`: a big-endian mask, bit 8.
    public static let eofCapability: [UInt8] = [0, 0, 1, 0]

    /// Only between SDK and router; an SDK leaves it out when it retransmits.
    public var connID: UInt32?
    public var circuitID: String
    /// From 0 in each direction.
    public var sequence: Int32
    public var flags: XgressFlags
    /// The low 16 bits of the sender's millisecond clock; echoed, never interpreted by a forwarder.
    public var rtt: UInt16
    public var payloadHeaders: [UInt8: [UInt8]]
    public var data: [UInt8]

    public init(
      connID: UInt32? = nil, circuitID: String, sequence: Int32, flags: XgressFlags = [], rtt: UInt16 = 0,
      payloadHeaders: [UInt8: [UInt8]] = [:],
      data: [UInt8] = []
    ) {
      self.connID = connID
      self.circuitID = circuitID
      self.sequence = sequence
      self.flags = flags
      self.rtt = rtt
      self.payloadHeaders = payloadHeaders
      self.data = data
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.xgPayload)
      let headers = message.headers
      guard let number = headers.uint64(.xgressSequence) else { throw .missingHeader(.xgressSequence) }
      guard let sequence = Int32(exactly: number) else {
        throw .badHeader(.xgressSequence, reason: "\(number) is beyond 2147483647")
      }
      var payloadHeaders: [UInt8: [UInt8]] = [:]
      for (id, value) in headers.all {
        if let key = UInt8(exactly: Int(id.rawValue) - Int(HeaderID.firstPayloadHeader.rawValue)) {
          payloadHeaders[key] = value
        }
      }
      self.init(
        connID: headers.uint32(.connID), circuitID: try headers.required(.xgressCircuitID), sequence: sequence,
        flags: XgressFlags(rawValue: headers.uint32(.xgressFlags) ?? 0), rtt: headers.uint16(.xgressRTT) ?? 0,
        payloadHeaders: payloadHeaders,
        data: message.body)
    }

    public func message() -> Message {
      var message = Message(contentType: .xgPayload, body: data)
      message.headers.setIfPresent(.connID, connID)
      for (key, value) in payloadHeaders.sorted(by: { $0.key < $1.key }) {
        message.headers.set(HeaderID(rawValue: HeaderID.firstPayloadHeader.rawValue + Int32(key)), value)
      }
      message.headers.set(.xgressCircuitID, circuitID)
      message.headers.set(.xgressSequence, UInt64(UInt32(bitPattern: sequence)))
      if !flags.isEmpty { message.headers.set(.xgressFlags, flags.rawValue) }
      message.headers.set(.xgressRTT, rtt)
      return message
    }
  }

  public struct Acknowledgement: TypedMessage {
    public static let contentType = ContentType.xgAcknowledgement

    /// Router to SDK only.
    public var connID: UInt32?
    public var circuitID: String
    /// Only `originator`, of the acknowledging side.
    public var flags: XgressFlags
    /// Copied from the payload; 0 in a window update.
    public var rtt: UInt16
    /// Bytes the receiver holds. Readers take an absent one for the maximum and throttle, so it is always written.
    public var receiveBufferSize: UInt32
    public var sequences: [Int32]

    public init(
      connID: UInt32? = nil, circuitID: String, flags: XgressFlags = [], rtt: UInt16 = 0, receiveBufferSize: UInt32,
      sequences: [Int32]
    ) {
      self.connID = connID
      self.circuitID = circuitID
      self.flags = flags
      self.rtt = rtt
      self.receiveBufferSize = receiveBufferSize
      self.sequences = sequences
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.xgAcknowledgement)
      let headers = message.headers
      guard message.body.count.isMultiple(of: 4) else {
        throw .badBody("\(message.body.count) bytes are no list of sequences of 4 bytes")
      }
      // Sequences are big-endian, unlike everything else.
      let sequences = message.body.withUnsafeBytes { body in
        stride(from: 0, to: body.count, by: 4).map {
          Int32(bigEndian: body.loadUnaligned(fromByteOffset: $0, as: Int32.self))
        }
      }
      self.init(
        connID: headers.uint32(.connID), circuitID: try headers.required(.xgressCircuitID),
        flags: XgressFlags(rawValue: headers.uint32(.xgressFlags) ?? 0),
        rtt: headers.uint16(.xgressRTT) ?? 0, receiveBufferSize: headers.uint32(.xgressReceiveBufferSize) ?? .max,
        sequences: sequences)
    }

    public func message() -> Message {
      var body: [UInt8] = []
      body.reserveCapacity(sequences.count * 4)
      for sequence in sequences { withUnsafeBytes(of: sequence.bigEndian) { body.append(contentsOf: $0) } }
      var message = Message(contentType: .xgAcknowledgement, body: body)
      message.headers.setIfPresent(.connID, connID)
      message.headers.set(.xgressCircuitID, circuitID)
      if !flags.isEmpty { message.headers.set(.xgressFlags, flags.rawValue) }
      message.headers.set(.xgressReceiveBufferSize, receiveBufferSize)
      message.headers.set(.xgressRTT, rtt)
      return message
    }
  }

  /// Trace route along a circuit (1102).
  public struct Control: TypedMessage {
    public static let contentType = ContentType.xgControl

    public enum Kind: UInt8, Sendable {
      case traceRequest = 1
      case traceResponse = 2
    }

    public var kind: Kind
    public var circuitID: String
    /// Headers 20 to 25 (`XgControlHeader`) and whatever else came along.
    public var headers: Headers

    public init(kind: Kind, circuitID: String, headers: Headers = Headers()) {
      self.kind = kind
      self.circuitID = circuitID
      self.headers = headers
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.xgControl)
      guard let kind = message.body.first.flatMap({ Kind(rawValue: $0) }) else {
        throw .badBody("a control message begins with 1 or 2")
      }
      self.init(
        kind: kind, circuitID: String(decoding: message.body.dropFirst(), as: UTF8.self), headers: message.headers)
    }

    public func message() -> Message {
      Message(contentType: .xgControl, headers: headers, body: [kind.rawValue] + Array(circuitID.utf8))
    }
  }

  /// The xgress of an SDK is finished (1103).
  public struct Close: TypedMessage {
    public static let contentType = ContentType.xgClose

    public var circuitID: String

    public init(circuitID: String) { self.circuitID = circuitID }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.xgClose)
      self.init(circuitID: message.text)
    }

    public func message() -> Message { Message(contentType: .xgClose, body: Array(circuitID.utf8)) }
  }
}
