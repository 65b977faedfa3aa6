extension EdgeMessages {
  /// A refreshed access token (edge-data-plane.md 4.7).
  public struct UpdateToken: TypedMessage {
    public static let contentType = ContentType.updateToken

    public var token: String

    public init(token: String) { self.token = token }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.updateToken)
      self.init(token: message.text)
    }

    public func message() -> Message { Message(contentType: .updateToken, body: Array(token.utf8)) }
  }

  public struct UpdateTokenSuccess: TypedMessage {
    public static let contentType = ContentType.updateTokenSuccess

    public var replyFor: Int32?

    public init(replyFor: Int32?) { self.replyFor = replyFor }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.updateTokenSuccess)
      self.init(replyFor: message.replyFor)
    }

    public func message() -> Message {
      var message = Message(contentType: .updateTokenSuccess)
      message.replyFor = replyFor
      return message
    }
  }

  /// The channel is closed after it.
  public struct UpdateTokenFailure: TypedMessage {
    public static let contentType = ContentType.updateTokenFailure

    public var replyFor: Int32?
    public var error: StructuredError

    public init(replyFor: Int32?, error: StructuredError) {
      self.replyFor = replyFor
      self.error = error
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.updateTokenFailure)
      self.init(
        replyFor: message.replyFor,
        error: StructuredError(of: message) ?? StructuredError(message: message.text, code: .internal))
    }

    public func message() -> Message {
      var message = Message(contentType: .updateTokenFailure, body: Array(error.message.utf8))
      message.replyFor = replyFor
      error.attach(to: &message.headers)
      return message
    }
  }

  /// Asks a Go SDK about a connection or, without conn id, about its whole context.
  public struct InspectRequest: TypedMessage {
    public static let contentType = ContentType.inspectRequest

    public var connID: UInt32?
    /// `circuits`, `context`, `circuit:<id>`, `circuitandstacks:<id>`; compared without case.
    public var keys: [String]

    public init(connID: UInt32? = nil, keys: [String]) {
      self.connID = connID
      self.keys = keys
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.inspectRequest)
      self.init(
        connID: message.headers.uint32(.connID), keys: try message.headers.stringList(.inspectRequestedValues) ?? [])
    }

    public func message() -> Message {
      var message = Message(contentType: .inspectRequest)
      message.headers.setIfPresent(.connID, connID)
      message.headers.set(.inspectRequestedValues, list: keys)
      return message
    }
  }

  /// Its answer.
  public struct InspectResponse: TypedMessage {
    public static let contentType = ContentType.inspectResponse

    public var replyFor: Int32?
    /// An object with members `success`, `errors` and `values`.
    public var json: [UInt8]

    public init(replyFor: Int32?, json: [UInt8]) {
      self.replyFor = replyFor
      self.json = json
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.inspectResponse)
      self.init(replyFor: message.replyFor, json: message.body)
    }

    public func message() -> Message {
      var message = Message(contentType: .inspectResponse, body: json)
      message.replyFor = replyFor
      return message
    }
  }

  /// Counts hops along a connection of the legacy flow. Each hop takes one off; the one that reaches 0 answers.
  public struct TraceRoute: TypedMessage {
    public static let contentType = ContentType.traceRoute

    public var connID: UInt32
    public var hops: UInt32
    /// Milliseconds of the sender's clock, to be copied.
    public var timestamp: UInt64?
    /// Towards the hosting SDK, instead of a sequence to reply to.
    public var sourceRequestID: UInt32?

    public init(connID: UInt32, hops: UInt32, timestamp: UInt64? = nil, sourceRequestID: UInt32? = nil) {
      self.connID = connID
      self.hops = hops
      self.timestamp = timestamp
      self.sourceRequestID = sourceRequestID
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.traceRoute)
      let headers = message.headers
      self.init(
        connID: try headers.required(.connID), hops: try headers.required(.traceHopCount),
        timestamp: headers.uint64(.timestamp),
        sourceRequestID: headers.uint32(.traceSourceRequestID))
    }

    public func message() -> Message {
      var message = Message(.traceRoute, connID: connID)
      message.headers.set(.traceHopCount, hops)
      if let timestamp { message.headers.set(.timestamp, timestamp) }
      message.headers.setIfPresent(.traceSourceRequestID, sourceRequestID)
      return message
    }
  }

  public struct TraceRouteResponse: TypedMessage {
    public static let contentType = ContentType.traceRouteResponse

    /// Absent in the answer of a hosting SDK, which repeats `sourceRequestID` instead.
    public var replyFor: Int32?
    public var connID: UInt32
    public var hops: UInt32
    public var timestamp: UInt64?
    public var sourceRequestID: UInt32?
    /// `xgress/edge`, `forwarder`, `sdk/golang`, ...
    public var hopType: String
    public var hopID: String
    public var error: String?

    public init(
      replyFor: Int32?, connID: UInt32, hops: UInt32, timestamp: UInt64? = nil, sourceRequestID: UInt32? = nil,
      hopType: String, hopID: String = "",
      error: String? = nil
    ) {
      self.replyFor = replyFor
      self.connID = connID
      self.hops = hops
      self.timestamp = timestamp
      self.sourceRequestID = sourceRequestID
      self.hopType = hopType
      self.hopID = hopID
      self.error = error
    }

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.traceRouteResponse)
      let headers = message.headers
      self.init(
        replyFor: message.replyFor, connID: try headers.required(.connID), hops: try headers.required(.traceHopCount),
        timestamp: headers.uint64(.timestamp),
        sourceRequestID: headers.uint32(.traceSourceRequestID), hopType: headers.string(.traceHopType) ?? "",
        hopID: headers.string(.traceHopID) ?? "",
        error: headers.string(.traceError))
    }

    public func message() -> Message {
      var message = Message(.traceRouteResponse, connID: connID, replyFor: replyFor)
      message.headers.set(.traceHopCount, hops)
      if let timestamp { message.headers.set(.timestamp, timestamp) }
      message.headers.setIfPresent(.traceSourceRequestID, sourceRequestID)
      message.headers.set(.traceHopType, hopType)
      message.headers.set(.traceHopID, hopID)
      message.headers.setIfPresent(.traceError, error)
      return message
    }
  }
}
