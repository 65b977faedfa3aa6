import NIOCore
import Transport
import Wire

/// What SDKs ask about the way of their bytes.
extension EdgeConnection {
  func inspectAnswer(_ message: Message) {
    guard let request = try? EdgeMessages.ConnInspectRequest(parsing: message) else { return }
    let type: ConnType
    switch slots[request.connID] {
    case .bind?: type = .bind
    case .circuit?, .dialing?: type = .dial
    case nil: type = .invalid
    }
    answer(
      EdgeMessages.ConnInspectResponse(replyFor: message.sequence, connID: request.connID, connType: type).message())
  }

  /// Hops of a circuit on one router: this end, the forwarder, the other end, the hosting SDK.
  func traceRoute(_ message: Message) {
    guard let request = try? EdgeMessages.TraceRoute(parsing: message) else { return }
    func answer(_ type: String, _ id: String, hops: UInt32, error: String? = nil) {
      self.answer(
        EdgeMessages.TraceRouteResponse(
          replyFor: message.sequence, connID: request.connID, hops: hops, timestamp: request.timestamp, hopType: type,
          hopID: id, error: error
        ).message())
    }
    guard case .circuit(let end)? = slots[request.connID], let far = end.far else {
      return answer(
        "xgress/edge", core.routerID, hops: request.hops, error: "no open circuit for connection id \(request.connID)")
    }
    switch request.hops {
    case 0, 1: answer("xgress/edge", core.routerID, hops: 0)
    case 2: answer("forwarder", core.routerID, hops: 0)
    case 3: answer("xgress/edge", core.routerID, hops: 0)
    default:
      let trace = PendingTrace(dialler: handle, connID: request.connID, replyFor: message.sequence)
      far.handle.run { $0.trace(request.hops - 3, request.timestamp, on: far.connID, for: trace) }
    }
  }

  /// A trace that goes on to this SDK, and who asked.
  struct PendingTrace {
    let dialler: ConnectionHandle
    let connID: UInt32
    /// Sequence of the dialler's request.
    let replyFor: Int32
    /// The connection that is traced, as this SDK knows it.
    var hostConnID: UInt32 = 0
  }

  private static let traceLimit = 64

  private func trace(_ hops: UInt32, _ timestamp: UInt64?, on connID: UInt32, for trace: PendingTrace) {
    // Diagnosis of others costs an SDK that does not read nothing.
    guard !isStuck, underlay.queuedBytes < Underlay.answerWatermark.high else { return }
    if pendingTraces.count >= Self.traceLimit { pendingTraces = [:] }
    var trace = trace
    trace.hostConnID = connID
    let id = UInt32(bitPattern: handle.nextSequence())
    pendingTraces[id] = trace
    send(EdgeMessages.TraceRoute(connID: connID, hops: hops, timestamp: timestamp, sourceRequestID: id).message())
  }

  /// The answer goes to whoever asked, as an answer to what was asked: no SDK names the request of another one that it
  /// answers.
  func traceRouteResponse(_ message: Message) {
    guard let answer = try? EdgeMessages.TraceRouteResponse(parsing: message), let id = answer.sourceRequestID,
      let trace = pendingTraces.removeValue(forKey: id), trace.hostConnID == answer.connID
    else { return }
    let back = EdgeMessages.TraceRouteResponse(
      replyFor: trace.replyFor, connID: trace.connID, hops: answer.hops, timestamp: answer.timestamp,
      hopType: Self.passed(answer.hopType),
      hopID: Self.passed(answer.hopID), error: answer.error.map(Self.passed))
    trace.dialler.run { $0.answer(back.message()) }
  }
}
