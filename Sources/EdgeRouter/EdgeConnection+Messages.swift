import Access
import Fabric
import Logging
import NIOCore
import Transport
import Wire

extension EdgeConnection {
  /// Bytes of a message that is not payload. The longest that SDKs send here are tokens, a few KiB, and texts of
  /// errors.
  private static let bodyLimit = 64 * 1024
  /// Bytes of a text that one SDK sends and another one reads.
  private static let textLimit = 1024

  /// Everything that is not payload.
  func handle(_ frame: UnsafeRawBufferPointer, _ header: FrameHeader) {
    guard header.bodyLength <= Self.bodyLimit else {
      return core.logger.notice(
        "message ignored, it is too long",
        metadata: ["type": "\(header.contentType.rawValue)", "bytes": "\(header.bodyLength)"])
    }
    let message: Message
    do { message = try Message.parse(frame, limits: underlay.limits) } catch {
      return giveUp("unreadable message of type \(header.contentType.rawValue): \(error)")
    }
    switch message.contentType {
    case .latency: answerProbe(message)
    case .connect: connect(message)
    case .connectV2:
      refuse(message, StructuredError(message: "connect-v2 requires an OIDC API session", code: .invalidAPISessionType))
    case .bind: bind(message)
    case .unbind: unbind(message)
    case .updateBind: updateBind(message)
    case .healthEvent: healthEvent(message)
    case .dialSuccess, .dialFailed: dialAnswer(message)
    case .stateClosed: stateClosed(message)
    case .connInspectRequest: inspectAnswer(message)
    case .connInspectResponse, .inspectResponse: inspected(message)
    case .traceRoute: traceRoute(message)
    case .traceRouteResponse: traceRouteResponse(message)
    case .updateToken: refuseToken(message)
    default: break
    }
  }

  /// As much of a text as another SDK gets to read.
  static func passed(_ text: String) -> String {
    text.utf8.count <= textLimit ? text : String(decoding: text.utf8.prefix(textLimit), as: UTF8.self)
  }

  private func answerProbe(_ probe: Message) {
    var answer = Message.result(success: true, replyTo: probe)
    answer.headers[.reflected] = probe.headers[.reflected]
    self.answer(answer)
  }

  /// Refuses a request; the text is never empty, which C SDKs would read as an invalid session.
  func refuse(_ request: Message, _ error: StructuredError) {
    answer(
      EdgeMessages.StateClosed(
        replyFor: request.sequence, connID: request.headers.uint32(.connID), text: error.message, error: error
      ).message())
  }

  private func refuseToken(_ message: Message) {
    let error = StructuredError(
      message: "the channel was not opened with an access token", code: .invalidAPISessionType)
    answer(EdgeMessages.UpdateTokenFailure(replyFor: message.sequence, error: error).message())
    underlay.closeAfterFlush()
  }

  // MARK: Dialling

  private func connect(_ message: Message) {
    let request: EdgeMessages.Connect
    do { request = try EdgeMessages.Connect(parsing: message) } catch { return refuseUnreadable(message, error) }
    guard slots[request.connID] == nil else {
      return refuse(message, StructuredError(message: "sink id \(request.connID) already in use", code: .internal))
    }
    guard let place = handle.share.take(.dial) else {
      return refuseBusy(
        message, "\(handle.share.limits.dials) dials of this identity wait for an answer at this router")
    }
    guard let circuit = handle.share.take(.circuit) else {
      return refuseBusy(
        message, "this identity has \(handle.share.limits.circuits) circuits open at this router; close some")
    }
    let ticket = core.nextNumber()
    let (core, handle) = (self.core, self.handle)
    let job: Job = {
      await core.dial(request, ticket: ticket, on: handle)
      withExtendedLifetime(place) {}
    }
    guard slots.count < Self.slotLimit, start(job) else {
      return refuseBusy(message, "too many connections on this channel")
    }
    occupy(request.connID, .dialing(ticket: ticket, request: request, sequence: message.sequence, place: circuit))
  }

  func refuseUnreadable(_ message: Message, _ error: WireError) {
    let text = message.headers.uint32(.connID) == nil ? "connId not set, required" : "\(error)"
    refuse(message, StructuredError(message: text, code: .internal))
  }

  /// Refuses what is too much, which SDKs may try again.
  func refuseBusy(_ message: Message, _ text: String) {
    refuse(message, StructuredError(message: text, code: .internal, retryHint: .tooBusy))
  }

  /// The circuit exists: the SDK is told, then payload may flow.
  func completeDial(_ connID: UInt32, ticket: UInt64, _ created: ControlMessages.CircuitCreated, sessionID: String) {
    guard case .dialing(ticket, let request, let sequence, let place)? = slots[connID] else {
      return core.abandonCircuit(created.circuitID)
    }
    let own = CircuitEndpoint(handle: handle, connID: connID, sessionID: sessionID)
    guard let (far, usage) = core.attachIngress(own, at: created.address, circuit: created.circuitID) else {
      vacate(connID)
      core.abandonCircuit(created.circuitID)
      let text = "the host closed the connection before it was open"
      return answer(
        EdgeMessages.StateClosed(
          replyFor: sequence, connID: connID, text: text, circuitID: created.circuitID,
          error: StructuredError(message: text, code: .internal)
        ).message())
    }
    let end = CircuitEnd(circuit: created.circuitID, connID: connID, place: place)
    end.usage = usage
    occupy(connID, .circuit(end))
    connect(end, to: far)
    let peer = created.peerData
    answer(
      EdgeMessages.StateConnected(
        replyFor: sequence, connID: connID, circuitID: created.circuitID,
        publicKey: request.options.publicKey == nil ? nil : peer[HeaderID.publicKey.peerDataKey],
        stickinessToken: peer[ControlHeader.stickinessToken.peerDataKey]
      ).message())
    far.handle.run(
      { $0.open(far.connID, circuit: created.circuitID, far: own) },
      otherwise: {
        own.handle.run { $0.finish(connID, circuit: created.circuitID, text: "channel closed", sendFIN: false) }
      })
  }

  /// The id is free again before the SDK reads the refusal: C SDKs use it again at once.
  func failDial(_ connID: UInt32, ticket: UInt64, _ error: StructuredError, circuit: String?) {
    guard case .dialing(ticket, _, let sequence, _)? = slots[connID] else { return }
    vacate(connID)
    answer(
      EdgeMessages.StateClosed(
        replyFor: sequence, connID: connID, text: error.message, circuitID: circuit, error: error
      ).message())
  }

  private func stateClosed(_ message: Message) {
    guard let connID = message.headers.uint32(.connID) else { return }
    hosting.withdraw(connID)
    guard let slot = slots[connID] else { return }
    switch slot {
    case .dialing: vacate(connID)
    case .circuit(let end):
      if end.far == nil, !end.isInitiator, end.waiting.readableBytes > 0 {
        end.closesWhenOpen = true
      } else {
        leave(end, graceful: true, text: "close called")
      }
    case .bind(let listener):
      vacate(connID)
      failDials(of: connID, text: message.text.isEmpty ? "the host closed its listener" : Self.passed(message.text))
      core.removeTerminator(listener.terminatorID)
    }
  }
}
