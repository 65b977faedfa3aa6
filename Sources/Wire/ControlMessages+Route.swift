/// Why a router could not carry out a route (header 1104, fabric-planes.md 3.3). `invalidTerminator` deletes the
/// terminator at the controller, so it is never the answer to a passing state.
public enum RouteErrorCode: UInt8, Sendable {
  case generic = 0
  case invalidTerminator = 1
  case misconfiguredTerminator = 2
  case dialTimedOut = 3
  case connectionRefused = 4
  case rejectedByApplication = 5
  case dnsFailure = 6
  case portNotAllowed = 7
  case invalidLinkDestination = 8
  case resourcesExhausted = 9
}

extension ControlMessages {
  /// The answer to a Route (1022): body and headers, no protobuf. Headers that are not its own are peer data of the
  /// terminator.
  public struct RouteResult: TypedMessage {
    public static let contentType = ContentType.routeResult

    public enum Outcome: Sendable, Equatable {
      /// With the peer data of the host: public key, addresses, ...
      case success(peerData: [UInt32: [UInt8]])
      case failure(text: String, code: RouteErrorCode)
    }

    public var replyFor: Int32?
    public var circuitID: String
    /// Copied from the Route.
    public var attempt: UInt32
    public var outcome: Outcome

    public init(replyFor: Int32?, circuitID: String, attempt: UInt32, outcome: Outcome) {
      self.replyFor = replyFor
      self.circuitID = circuitID
      self.attempt = attempt
      self.outcome = outcome
    }

    private static let ownHeaders: Set<HeaderID> = [
      .replyFor, .heartbeat, .heartbeatResponse, ControlHeader.routeResultAttempt, ControlHeader.routeResultSuccess,
      ControlHeader.routeResultError,
      ControlHeader.routeResultErrorCode,
    ]

    public init(parsing message: Message) throws(WireError) {
      try message.expect(.routeResult)
      let headers = message.headers
      let outcome: Outcome
      if headers.contains(ControlHeader.routeResultSuccess) {
        var peerData: [UInt32: [UInt8]] = [:]
        for (id, value) in headers.all where id.rawValue >= 0 && !Self.ownHeaders.contains(id) {
          peerData[UInt32(bitPattern: id.rawValue)] = value
        }
        outcome = .success(peerData: peerData)
      } else {
        outcome = .failure(
          text: headers.string(ControlHeader.routeResultError) ?? "the router gave no reason",
          code: headers.uint8(ControlHeader.routeResultErrorCode).flatMap { RouteErrorCode(rawValue: $0) } ?? .generic)
      }
      self.init(
        replyFor: message.replyFor, circuitID: message.text,
        attempt: headers.uint32(ControlHeader.routeResultAttempt) ?? 0, outcome: outcome)
    }

    public func message() -> Message {
      var message = Message(contentType: .routeResult, body: Array(circuitID.utf8))
      message.replyFor = replyFor
      message.headers.set(ControlHeader.routeResultAttempt, attempt)
      switch outcome {
      case .success(let peerData):
        message.headers.set(ControlHeader.routeResultSuccess, true)
        for (id, value) in peerData.sorted(by: { $0.key < $1.key }) {
          let header = HeaderID(rawValue: Int32(bitPattern: id))
          if !Self.ownHeaders.contains(header) { message.headers.set(header, value) }
        }
      case .failure(let text, let code):
        message.headers.set(ControlHeader.routeResultError, text)
        message.headers.set(ControlHeader.routeResultErrorCode, code.rawValue)
      }
      return message
    }
  }
}
