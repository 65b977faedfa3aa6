import FoundationEssentials
public import JSON

/// The envelope in which OpenZiti's REST APIs answer (management-and-model.md 4.3): `data`, and for a list `meta` with
/// the number of all there is.
public struct RESTEnvelope<Value: Decodable & Sendable>: Decodable, Sendable {
  public struct Meta: Decodable, Sendable {
    public struct Pagination: Decodable, Sendable { public var totalCount: Int }
    public var pagination: Pagination?
  }
  public var data: Value
  public var meta: Meta?
}

/// What the `error` of such an envelope says. Members that an answer lacks are nil: proxies refuse, too.
public struct RESTRefusal: Sendable, Equatable {
  /// What the message comes of.
  public struct Cause: Sendable, Equatable {
    /// The member of the request that is wrong.
    public var field: String?
    /// What is wrong with it.
    public var reason: String?
    /// Of a cause that is an error of its own.
    public var message: String?
  }

  public var status: Int
  /// The stable code of the error catalogue.
  public var code: String?
  public var message: String?
  public var cause: Cause?

  /// - Parameter document: the whole envelope; nil where the answer is not JSON.
  public init(status: Int, _ document: JSONValue?) {
    self.status = status
    let error = document?["error"]
    code = error?["code"]?.stringValue
    message = error?["message"]?.stringValue
    cause = error?["cause"].map {
      Cause(
        field: $0["field"]?.stringValue, reason: $0["reason"]?.stringValue, message: $0["message"]?.stringValue)
    }
  }

  /// Message and cause in one line.
  public var sentence: String {
    let parts = [message, cause?.reason ?? cause?.message].compactMap { $0 }
    return parts.isEmpty ? "no reason given" : parts.joined(separator: ": ")
  }
}

extension HTTPAnswer {
  /// Whether the server did what it was asked.
  public var isGood: Bool { (200..<300).contains(status) }

  /// The whole body as a document; nil where it is none.
  public var document: JSONValue? { try? JSONValue(parsing: body, limits: .stored) }

  /// What an answer that is not good says.
  public var refusal: RESTRefusal { RESTRefusal(status: status, document) }

  /// - Throws: `DecodingError` for a body that is no envelope, or one without `data`, or with other data.
  public func envelope<Value: Decodable & Sendable>(of type: Value.Type) throws -> RESTEnvelope<Value> {
    try JSONDecoder().decode(RESTEnvelope<Value>.self, from: Data(body))
  }
}
