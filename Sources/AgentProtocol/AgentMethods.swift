// AgentProtocol: the calls that agents of shares answer, as gRPC messages: zrok's, so that either side may be zrok's.
// It connects nobody and decides nothing; it is a target of its own so that gRPC stays out of the share SDK. Start
// reading at `AgentMethods`.

package import GRPCCore
package import SwiftProtobuf
package import WireSchemas

/// A method of the gRPC service that zrok's agents answer, at a socket of their machine and, once enrolled, to their
/// share service over the overlay (zrok.md 2.5, 5.6).
package struct AgentMethod<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>: Sendable {
  package let descriptor: MethodDescriptor

  fileprivate init(_ name: String) {
    descriptor = MethodDescriptor(service: ServiceDescriptor(fullyQualifiedService: "Agent"), method: name)
  }

  package func handle<Transport: ServerTransport>(
    in router: inout RPCRouter<Transport>, _ answer: @escaping @Sendable (Request) async throws -> Response
  ) {
    router.registerHandler(
      forMethod: descriptor, deserializer: MessageCoder<Request>(), serializer: MessageCoder<Response>(),
      handler: { request, _ in
        let message = try await ServerRequest(stream: request).message
        // gRPC tells that the caller has gone, or waits no longer, by its own means only.
        let work = Task { try await answer(message) }
        let response = try await withRPCCancellationHandler {
          try await withTaskCancellationHandler {
            try await work.value
          } onCancel: {
            work.cancel()
          }
        } onCancelRPC: {
          work.cancel()
        }
        return StreamingServerResponse(single: ServerResponse(message: response))
      })
  }

  package func call(
    _ client: GRPCClient<some ClientTransport>, _ request: Request, timeout: Duration
  ) async throws -> Response {
    var options = CallOptions.defaults
    options.timeout = timeout
    // The transport takes the limit of requests for both directions.
    options.maxRequestMessageBytes = AgentMethods.messageLimit
    options.maxResponseMessageBytes = AgentMethods.messageLimit
    return try await client.unary(
      request: ClientRequest(message: request), descriptor: descriptor, serializer: MessageCoder<Request>(),
      deserializer: MessageCoder<Response>(),
      options: options
    ) { try $0.message }
  }
}

/// The methods, by the generation of zrok that answers them.
package enum AgentMethods {
  /// Bytes of one message that either side takes.
  package static let messageLimit = 1 << 20

  package static let version = AgentMethod<AgentVersionRequest, AgentVersionResponse>("Version")
  package static let status = AgentMethod<AgentStatusRequest, AgentStatusResponse>("Status")
  package static let sharePublic = AgentMethod<AgentSharePublicRequest, AgentSharePublicResponse>("SharePublic")
  package static let sharePrivate = AgentMethod<AgentSharePrivateRequest, AgentSharePrivateResponse>("SharePrivate")
  package static let releaseShare = AgentMethod<AgentReleaseShareRequest, AgentReleaseShareResponse>("ReleaseShare")
  package static let accessPrivate = AgentMethod<AgentAccessPrivateRequest, AgentAccessPrivateResponse>("AccessPrivate")
  package static let releaseAccess = AgentMethod<AgentReleaseAccessRequest, AgentReleaseAccessResponse>("ReleaseAccess")
  package static let checkShare = AgentMethod<AgentShareHttpHealthcheckRequest, AgentShareHttpHealthcheckResponse>(
    "ShareHttpHealthcheck")

  // Agents of the first generation.
  package static let statusV1 = AgentMethod<AgentStatusRequest, AgentStatusResponseV1>("Status")
  package static let sharePublicV1 = AgentMethod<AgentSharePublicRequestV1, AgentSharePublicResponse>("SharePublic")
  package static let sharePrivateV1 = AgentMethod<AgentSharePrivateRequestV1, AgentSharePrivateResponse>("SharePrivate")
  package static let shareReservedV1 = AgentMethod<AgentShareReservedRequestV1, AgentShareReservedResponseV1>(
    "ShareReserved")
}

/// Protocol buffers as bytes of gRPC messages.
private struct MessageCoder<Message: SwiftProtobuf.Message>: MessageSerializer, MessageDeserializer {
  func serialize<Bytes: GRPCContiguousBytes>(_ message: Message) throws -> Bytes {
    let bytes: [UInt8] = try message.serializedBytes()
    return Bytes(bytes)
  }

  func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Message {
    do { return try bytes.withUnsafeBytes { try Message(serializedBytes: Array($0)) } } catch {
      throw RPCError(code: .invalidArgument, message: "the message is no \(Message.protoMessageName)")
    }
  }
}
