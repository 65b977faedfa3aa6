import GRPCCore
import SwiftProtobuf
import WireSchemas

/// A method of the gRPC service that zrok's agents answer, at a socket of their machine and, once enrolled, to their
/// share service over the overlay (zrok.md 2.5, 5.6).
struct AgentMethod<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>: Sendable {
  let descriptor: MethodDescriptor

  fileprivate init(_ name: String) {
    descriptor = MethodDescriptor(service: ServiceDescriptor(fullyQualifiedService: "Agent"), method: name)
  }

  func handle<Transport: ServerTransport>(
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

  func call(_ client: GRPCClient<some ClientTransport>, _ request: Request, timeout: Duration) async throws -> Response
  {
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

enum AgentMethods {
  /// Bytes of one message that either side takes.
  static let messageLimit = 1 << 20

  static let version = AgentMethod<AgentVersionRequest, AgentVersionResponse>("Version")
  static let status = AgentMethod<AgentStatusRequest, AgentStatusResponse>("Status")
  static let sharePublic = AgentMethod<AgentSharePublicRequest, AgentSharePublicResponse>("SharePublic")
  static let sharePrivate = AgentMethod<AgentSharePrivateRequest, AgentSharePrivateResponse>("SharePrivate")
  static let releaseShare = AgentMethod<AgentReleaseShareRequest, AgentReleaseShareResponse>("ReleaseShare")
  static let accessPrivate = AgentMethod<AgentAccessPrivateRequest, AgentAccessPrivateResponse>("AccessPrivate")
  static let releaseAccess = AgentMethod<AgentReleaseAccessRequest, AgentReleaseAccessResponse>("ReleaseAccess")
  static let checkShare = AgentMethod<AgentShareHttpHealthcheckRequest, AgentShareHttpHealthcheckResponse>(
    "ShareHttpHealthcheck")

  // Agents of the first generation.
  static let statusV1 = AgentMethod<AgentStatusRequest, AgentStatusResponseV1>("Status")
  static let sharePublicV1 = AgentMethod<AgentSharePublicRequestV1, AgentSharePublicResponse>("SharePublic")
  static let sharePrivateV1 = AgentMethod<AgentSharePrivateRequestV1, AgentSharePrivateResponse>("SharePrivate")
  static let shareReservedV1 = AgentMethod<AgentShareReservedRequestV1, AgentShareReservedResponseV1>("ShareReserved")
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
