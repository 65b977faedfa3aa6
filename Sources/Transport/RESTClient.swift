public import NIOCore
public import NIOPosix

/// Requests to a server with a REST API, one after the other over connections that stay open (`KeptConnections`): what
/// the SDK, the command line and the share service ask controllers with, and share clients their share service.
///
/// OpenZiti's APIs answer in envelopes, which `HTTPAnswer+Envelope` reads. An API that answers otherwise, as zrok's
/// does, is asked by ``send(_:_:headers:body:timeout:)``, and its client reads the answers itself.
public struct RESTClient: Sendable {
  private let bases: [String]
  private let https: HTTPSClient
  private let timeout: TimeAmount
  private let maxBody: Int

  /// - Parameters:
  ///   - bases: `https://host[:port][/path]`, in the order in which the servers are asked: the first that answers is
  ///     the one.
  ///   - tls: what is proven to the servers, and whom it believes. A renewed certificate makes another client.
  ///   - group: event loops of the connections.
  ///   - allowsPlaintext: whether `http://` is requested too.
  ///   - timeout: for a turn where many ask at once, for connect, and for the whole answer, each.
  ///   - maxBody: bytes of an answer that are accepted.
  public init(
    bases: [String], tls: ClientTLS, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    allowsPlaintext: Bool = false, timeout: TimeAmount = .seconds(30), maxBody: Int = 16 << 20
  ) {
    self.bases = bases
    self.timeout = timeout
    self.maxBody = maxBody
    https = HTTPSClient(tls: tls, group: group, allowsPlaintext: allowsPlaintext, keepsConnections: true)
  }

  /// Connections made so far.
  package var connectionsMade: Int { https.connectionsMade }

  /// Closes the connections that wait for a request; later requests keep none.
  public func close() { https.close() }

  /// Asks the first server that answers, whatever the answer is.
  ///
  /// - Parameters:
  ///   - path: with its query, below the base: `/services?limit=1`.
  ///   - headers: all but host, length and what concerns the connection.
  ///   - timeout: nil for the client's.
  /// - Throws: `RESTError` with `unreachable`.
  public func send(
    _ method: String, _ path: String, headers: [(String, String)], body: [UInt8]? = nil, timeout: TimeAmount? = nil
  ) async throws(RESTError) -> HTTPAnswer {
    var problem = RESTError(
      request: "\(method) \(path)", address: "", problem: .unreachable(reason: "no address is known"))
    for base in bases {
      do {
        return try await https.request(
          method: method, base + path, headers: headers, body: body, timeout: timeout ?? self.timeout, maxBody: maxBody)
      } catch {
        problem.address = base
        problem.problem = .unreachable(reason: ErrorText.words(error))
      }
    }
    throw problem
  }

  /// The same as OpenZiti's APIs are asked.
  ///
  /// - Parameters:
  ///   - token: of an API session.
  ///   - body: a JSON document.
  /// - Throws: `RESTError` with `unreachable`.
  public func send(_ method: String, _ path: String, token: String?, body: [UInt8]? = nil) async throws(RESTError)
    -> HTTPAnswer
  {
    var headers = [("accept", "application/json")]
    if let token { headers.append(("zt-session", token)) }
    if body != nil { headers.append(("content-type", "application/json")) }
    return try await send(method, path, headers: headers, body: body)
  }

  /// The envelope of a good answer.
  /// - Throws: `RESTError`.
  public func envelope<Value: Decodable & Sendable>(
    _ method: String, _ path: String, token: String?, body: [UInt8]? = nil, of type: Value.Type
  ) async throws(RESTError) -> RESTEnvelope<Value> {
    let answer = try await send(method, path, token: token, body: body)
    func failure(_ problem: RESTError.Problem) -> RESTError {
      RESTError(request: "\(method) \(path)", address: bases.joined(separator: ", "), problem: problem)
    }
    guard answer.isGood else { throw failure(.refused(answer.refusal)) }
    do { return try answer.envelope(of: type) } catch { throw failure(.unreadable(reason: "\(error)")) }
  }
}

/// Which request came to nothing, at which address, how, and what to do. Clients with words of their own look at the
/// problem.
public struct RESTError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Problem: Sendable, Equatable {
    /// No server answered; the reason is that of the last one asked.
    case unreachable(reason: String)
    /// The server said no.
    case refused(RESTRefusal)
    /// What the server answered is not what the request brings.
    case unreadable(reason: String)
  }

  /// Method, path and query.
  public var request: String
  /// The base that was asked; several where it is not known which of them answered. Empty where there was none to ask.
  public var address: String
  public var problem: Problem

  public init(request: String, address: String, problem: Problem) {
    self.request = request
    self.address = address
    self.problem = problem
  }

  public var description: String {
    let place = address.isEmpty ? request : "\(request) at \(address)"
    return switch problem {
    case .unreachable(let reason): "\(place): no answer: \(reason); check the address, and that the server runs"
    case .refused(let refusal):
      "\(place): refused: \(refusal.sentence) (\(refusal.code ?? "no code"), HTTP \(refusal.status))"
    case .unreadable(let reason):
      "\(place): the answer cannot be read: \(reason); check that the address is that of the API"
    }
  }
}
