import HTTPTypes
import HummingbirdCore
import HummingbirdHTTP2
public import Logging
public import NIOCore
public import Transport

/// Serves an `APIServer` over HTTP/1.1 and HTTP/2 on Transport's listener.
public struct HTTPAcceptor: ConnectionAcceptor {
  private let server: APIServer
  private let logger: Logger
  private let requestID: @Sendable () -> String

  /// - Parameter requestID: makes the id that names a request in answers and logs.
  public init(_ server: APIServer, logger: Logger, requestID: @escaping @Sendable () -> String) {
    self.server = server
    self.logger = logger
    self.requestID = requestID
  }

  public func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?) -> EventLoopFuture<ConnectionTask> {
    let server = self.server
    let requestID = self.requestID
    let logger = self.logger
    let responder: HTTPChannelHandler.Responder = { request, writer, _ in
      let response = await Self.answer(request, peer: peer, server: server, requestID: requestID())
      var fields = HTTPFields()
      for (name, value) in response.headers { if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) } }
      fields[.contentLength] = "\(response.body.count)"
      try await writer.write(
        response: HTTPResponse(status: .init(code: response.status), headerFields: fields),
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: response.body)))
      // What an oversized request still has to say is not listened to.
      if response.status == 413 { throw TransportError.protocolViolation("body over the limit") }
    }
    var http1 = HTTP1Channel.Configuration(idleTimeout: .seconds(60))
    http1.httpDecoder = .init(maxHeaderFieldSize: 32 * 1024, maxHeaderListSize: 64 * 1024, maxHeaderFieldCount: 128)
    do {
      try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
    } catch {
      return channel.eventLoop.makeFailedFuture(error)
    }
    if alpn == ALPN.http2 {
      let http2 = HTTP2Channel(responder: responder, configuration: .init(idleTimeout: .seconds(60), streamConfiguration: http1))
      return http2.setup(channel: channel, logger: logger).map { value in { await http2.handle(value: value, logger: logger) } }
    }
    let http = HTTP1Channel(responder: responder, configuration: http1)
    return http.setup(channel: channel, logger: logger).map { value in { await http.handle(value: value, logger: logger) } }
  }

  private static func answer(_ request: Request, peer: PresentedPeer, server: APIServer, requestID: String) async -> APIResponse {
    let target = request.head.path ?? "/"
    let mark = target.firstIndex(of: "?") ?? target.endIndex
    let path = String(target[..<mark])
    let query = mark < target.endIndex ? APIServer.query(target[target.index(after: mark)...]) : []
    let headers = request.headers.map { (name: $0.name.rawName, value: $0.value) }
    func make(_ body: [UInt8]) -> APIRequest {
      APIRequest(method: request.method.rawValue, path: path, query: query, headers: headers, body: body, peer: peer, requestID: requestID)
    }
    let tooLarge = APIError(.entityTooLarge, "The body exceeds \(APIServer.bodyLimit) bytes")
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > APIServer.bodyLimit {
      return server.answer(to: tooLarge, request: make([]))
    }
    var body: [UInt8] = []
    do {
      for try await part in request.body {
        guard body.count + part.readableBytes <= APIServer.bodyLimit else { return server.answer(to: tooLarge, request: make([])) }
        body.append(contentsOf: part.readableBytesView)
      }
    } catch {
      return server.answer(to: APIError(.couldNotParseBody, "The body of the request could not be read"), request: make([]))
    }
    return await server.respond(to: make(body))
  }
}
