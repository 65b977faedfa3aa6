/// Codes of edge errors (header 1014, edge-data-plane.md 3.4).
public enum EdgeErrorCode: UInt32, Sendable {
  case ok = 0
  case `internal` = 1
  case invalidAPISession = 2
  case invalidSession = 3
  case wrongSessionType = 4
  case invalidEdgeRouterForSession = 5
  case invalidService = 6
  case tunnelingNotEnabled = 7
  case invalidTerminator = 8
  case invalidPrecedence = 9
  case invalidCost = 10
  case encryptionDataMissing = 11
  case invalidAPISessionType = 12
  case invalidInstanceID = 13
  case accessDenied = 14
  case postureCheckFailed = 15

  /// What controllers tell SDKs to do after this error (edge-data-plane.md 3.5).
  public var usualRetryHint: RetryHint {
    switch self {
    case .invalidAPISession, .invalidSession, .wrongSessionType, .invalidEdgeRouterForSession, .encryptionDataMissing:
      .startOver
    case .invalidService, .tunnelingNotEnabled, .invalidTerminator, .invalidPrecedence, .invalidCost: .notRetriable
    case .ok, .internal, .invalidAPISessionType, .invalidInstanceID, .accessDenied, .postureCheckFailed: .default
    }
  }
}

/// What an SDK should do after an error (edge-data-plane.md 3.5).
public enum RetryHint: UInt32, Sendable {
  case `default` = 0
  case tooBusy = 1
  case startOver = 2
  case notRetriable = 3
}

/// The number of a terminator's precedence in header 1005 (`Model.Precedence` is what it means).
public enum PrecedenceCode: UInt8, Sendable {
  case `default` = 0
  case required = 1
  case failed = 2
}

/// What a connection id names (header 1022).
public enum ConnType: UInt8, Sendable {
  case invalid = 0
  case dial = 1
  case bind = 2
  case unknown = 3
}

/// The structured form of an error (header 1033, edge-data-plane.md 3.6).
public struct StructuredError: Sendable, Equatable {
  public var message: String
  public var code: EdgeErrorCode
  public var retryHint: RetryHint
  public var failingPostureCheckIDs: [String]

  public init(
    message: String, code: EdgeErrorCode, retryHint: RetryHint = .default, failingPostureCheckIDs: [String] = []
  ) {
    self.message = message
    self.code = code
    self.retryHint = retryHint
    self.failingPostureCheckIDs = failingPostureCheckIDs
  }

  /// Reads the JSON object of header 1033. Unknown members are ignored; a code or hint that this build does not know
  /// counts as internal and default, since the text is what a person reads.
  /// - Returns: nil when the text is not an object of this kind.
  public init?(jsonText: String) {
    var reader = StructuredErrorReader(Array(jsonText.utf8))
    guard let members = reader.read() else { return nil }
    self.init(
      message: members.message, code: EdgeErrorCode(rawValue: members.code) ?? .internal,
      retryHint: RetryHint(rawValue: members.retryHint) ?? .default,
      failingPostureCheckIDs: members.failingPostureCheckIDs)
  }

  /// What a message says of its failure: header 1033, else header 1014 and the body.
  /// - Returns: nil when the message has neither header.
  public init?(of message: Message) {
    if let error = message.headers.string(.structuredError).flatMap({ StructuredError(jsonText: $0) }) {
      self = error
    } else if let code = message.headers.uint32(.errorCode) {
      self.init(message: message.text, code: EdgeErrorCode(rawValue: code) ?? .internal)
    } else {
      return nil
    }
  }

  /// The JSON object of header 1033. No member `cause`: Go SDKs lose the whole error when they meet an object there.
  public var jsonText: String {
    var text = "{\"message\":\(Self.quoted(message)),\"code\":\(code.rawValue),\"retryHint\":\(retryHint.rawValue)"
    if !failingPostureCheckIDs.isEmpty {
      text += ",\"failingPostureCheckIds\":[\(failingPostureCheckIDs.map(Self.quoted).joined(separator: ","))]"
    }
    return text + "}"
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20:
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }

  /// Adds headers 1014 and 1033 to a message.
  public func attach(to headers: inout Headers) {
    headers.set(.errorCode, code.rawValue)
    headers.set(.structuredError, jsonText)
  }
}
