import Access
import Fabric
import NIOCore
import Transport
import Wire

extension EdgeConnection {
  /// Everything that is not payload for an open circuit.
  func handle(_ frame: UnsafeRawBufferPointer, _ header: FrameHeader) {
    if header.contentType == .data { return strayData(frame, header) }
    guard let message = try? Message.parse(frame, limits: underlay.limits) else { return underlay.close() }
    switch message.contentType {
    case .latency: answerProbe(message)
    case .connect: connect(message)
    case .connectV2: refuse(message, StructuredError(message: "connect-v2 requires an OIDC API session", code: .invalidAPISessionType))
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

  private func answerProbe(_ probe: Message) {
    var answer = Message.result(success: true, replyTo: probe)
    answer.headers[.reflected] = probe.headers[.reflected]
    send(answer)
  }

  /// Refuses a request; the text is never empty, which C SDKs would read as an invalid session.
  func refuse(_ request: Message, _ error: StructuredError) {
    send(EdgeMessages.StateClosed(replyFor: request.sequence, connID: request.headers.uint32(.connID), text: error.message, error: error).message())
  }

  private func refuseToken(_ message: Message) {
    let error = StructuredError(message: "the channel was not opened with an access token", code: .invalidAPISessionType)
    send(EdgeMessages.UpdateTokenFailure(replyFor: message.sequence, error: error).message())
    underlay.closeAfterFlush()
  }

  /// Data that cannot go on: its circuit is not open yet, or there is none.
  private func strayData(_ frame: UnsafeRawBufferPointer, _ header: FrameHeader) {
    let section = UnsafeRawBufferPointer(rebasing: frame[FrameHeader.size..<FrameHeader.size + header.headersLength])
    guard let fields = try? EdgeFields.scan(section) else { return underlay.close() }
    guard let connID = fields.connID else { return }
    switch slots[connID] {
    case .circuit(let end)?:
      guard end.far == nil else { return }
      guard end.held.readableBytes + frame.count <= Self.heldLimit else {
        send(EdgeMessages.StateClosed(connID: connID, text: "too much data before the connection was open").message())
        return leave(end, graceful: false, text: "too much data before the connection was open")
      }
      end.held.writeBytes(frame)
    case .dialing?, .bind?: return
    case nil: send(EdgeMessages.StateClosed(connID: connID, text: "unknown connection id \(connID)").message())
    }
  }

  // MARK: Dialling

  private func connect(_ message: Message) {
    guard let request = try? EdgeMessages.Connect(parsing: message) else {
      return refuse(message, StructuredError(message: "connId not set, required", code: .internal))
    }
    guard slots[request.connID] == nil else {
      return refuse(message, StructuredError(message: "sink id \(request.connID) already in use", code: .internal))
    }
    let ticket = core.nextNumber()
    let (core, handle) = (self.core, self.handle)
    guard slots.count < Self.slotLimit, start({ await core.dial(request, ticket: ticket, on: handle) }) else {
      return refuse(message, StructuredError(message: "too many connections on this channel", code: .internal, retryHint: .tooBusy))
    }
    slots[request.connID] = .dialing(ticket: ticket, request: request, sequence: message.sequence)
  }

  /// The circuit exists: the SDK is told, then payload may flow.
  func completeDial(_ connID: UInt32, ticket: UInt64, _ created: ControlMessages.CircuitCreated, sessionID: String) {
    guard case .dialing(ticket, let request, let sequence)? = slots[connID] else { return core.abandonCircuit(created.circuitID) }
    let own = CircuitEndpoint(handle: handle, connID: connID, sessionID: sessionID)
    guard let (far, usage) = core.attachIngress(own, at: created.address, circuit: created.circuitID) else {
      slots[connID] = nil
      core.abandonCircuit(created.circuitID)
      let text = "the host closed the connection before it was open"
      return send(
        EdgeMessages.StateClosed(
          replyFor: sequence, connID: connID, text: text, circuitID: created.circuitID, error: StructuredError(message: text, code: .internal)
        ).message())
    }
    let end = CircuitEnd(circuit: created.circuitID, connID: connID, isInitiator: true)
    end.far = far
    end.usage = usage
    slots[connID] = .circuit(end)
    let peer = created.peerData
    send(
      EdgeMessages.StateConnected(
        replyFor: sequence, connID: connID, circuitID: created.circuitID,
        publicKey: request.options.publicKey == nil ? nil : peer[UInt32(HeaderID.publicKey.rawValue)],
        stickinessToken: peer[UInt32(ControlHeader.stickinessToken.rawValue)]
      ).message())
    far.handle.run(
      { $0.open(far.connID, circuit: created.circuitID, far: own) },
      otherwise: { own.handle.run { $0.finish(connID, circuit: created.circuitID, text: "channel closed", sendFIN: false) } })
  }

  /// The id is free again before the SDK reads the refusal: C SDKs use it again at once.
  func failDial(_ connID: UInt32, ticket: UInt64, _ error: StructuredError, circuit: String?) {
    guard case .dialing(ticket, _, let sequence)? = slots[connID] else { return }
    slots[connID] = nil
    send(EdgeMessages.StateClosed(replyFor: sequence, connID: connID, text: error.message, circuitID: circuit, error: error).message())
  }

  private func stateClosed(_ message: Message) {
    guard let connID = message.headers.uint32(.connID), let slot = slots[connID] else { return }
    switch slot {
    case .dialing: slots[connID] = nil
    case .circuit(let end):
      if end.far == nil, !end.isInitiator, end.held.readableBytes > 0 {
        end.closesWhenOpen = true
      } else {
        leave(end, graceful: true, text: "close called")
      }
    case .bind(let listener):
      slots[connID] = nil
      failDials(of: connID, text: message.text.isEmpty ? "the host closed its listener" : message.text)
      core.removeTerminator(listener.terminatorID)
    }
  }

  // MARK: Hosting

  private func bind(_ message: Message) {
    let request: EdgeMessages.Bind
    do { request = try EdgeMessages.Bind(parsing: message) } catch {
      return refuse(
        message, StructuredError(message: message.headers.uint32(.connID) == nil ? "connId not set, required" : "\(error)", code: .internal))
    }
    switch slots[request.connID] {
    case nil, .bind?: break
    default: return refuse(message, StructuredError(message: "sink id \(request.connID) already in use", code: .internal))
    }
    let (core, handle) = (self.core, self.handle)
    guard slots.count < Self.slotLimit, start({ await core.bind(request, sequence: message.sequence, on: handle) }) else {
      return refuse(message, StructuredError(message: "too many connections on this channel", code: .internal, retryHint: .tooBusy))
    }
  }

  /// The session may host: confirm, then make the terminator known.
  func acceptBind(_ request: EdgeMessages.Bind, sequence: Int32, facts: ServiceSessionFacts) {
    switch slots[request.connID] {
    case nil, .bind?: break
    default:
      let error = StructuredError(message: "sink id \(request.connID) already in use", code: .internal)
      return send(EdgeMessages.StateClosed(replyFor: sequence, connID: request.connID, text: error.message, error: error).message())
    }
    let confirmation = EdgeMessages.StateConnected(
      replyFor: sequence, connID: request.connID, routerProvidesConnIDs: request.wantsRouterProvidedConnIDs
    ).message()
    let hosted: RouterCore.Hosted
    switch core.host(request, facts, on: handle) {
    case .stale: return
    case .duplicate: return send(confirmation)
    case .new(let new): hosted = new
    case .replaces(let new, let old):
      hosted = new
      let error = StructuredError(message: "replaced by a newer bind of the same listener", code: .ok)
      if let owner = core.handle(old.connection) { owner.run { $0.endBind(old.connID, terminator: old.id, error: error) } }
    }
    slots[request.connID] = .bind(BoundListener(terminatorID: hosted.id, bind: request))
    send(confirmation)
    let (core, id) = (self.core, hosted.id)
    _ = start { await core.establish(id) }
  }

  /// Refused binds are answered at once, repeated ones with a delay: some SDKs ask again without waiting (edge-data-plane.md 9.5).
  func refuseBind(_ connID: UInt32, sequence: Int32, _ error: StructuredError) {
    let answer = EdgeMessages.StateClosed(replyFor: sequence, connID: connID, text: error.message, error: error).message()
    let isRepeated = lastBindRefusal.map { NIODeadline.now() - $0 < .seconds(2) } ?? false
    lastBindRefusal = .now()
    guard isRepeated else { return send(answer) }
    let handle = self.handle
    _ = handle.loop.scheduleTask(in: .milliseconds(250)) { handle.connection?.send(answer) }
  }

  /// The controller knows the terminator.
  func established(_ connID: UInt32, terminator: String) {
    guard case .bind(let listener)? = slots[connID], listener.terminatorID == terminator else { return }
    if listener.bind.supportsBindSuccess { send(EdgeMessages.BindSuccess(connID: connID).message()) }
    guard listener.bind.supportsInspect else { return }
    var request = EdgeMessages.ConnInspectRequest(connID: connID).message()
    request.sequence = handle.nextSequence()
    // Bounded by the number of binds an SDK makes without ever answering.
    if pendingInspects.count > 1024 { pendingInspects = [:] }
    pendingInspects[request.sequence] = connID
    underlay.writeAndFlush(request)
  }

  private func inspected(_ message: Message) {
    guard let replyFor = message.replyFor, let connID = pendingInspects.removeValue(forKey: replyFor),
      let answer = try? EdgeMessages.ConnInspectResponse(parsing: message), answer.connType != .bind, case .bind(let listener)? = slots[connID]
    else { return }
    slots[connID] = nil
    failDials(of: connID, text: "the host closed its listener")
    core.removeTerminator(listener.terminatorID)
  }

  /// The listener of a request that proves itself with the token it was bound with.
  private func listener(_ message: Message, token: [UInt8]) -> BoundListener? {
    guard let connID = message.headers.uint32(.connID), case .bind(let listener)? = slots[connID] else { return nil }
    guard listener.bind.token == token else {
      refuse(message, StructuredError(message: EdgeMessages.StateClosed.invalidSessionText, code: .invalidSession, retryHint: .startOver))
      return nil
    }
    return listener
  }

  private func unbind(_ message: Message) {
    guard let request = try? EdgeMessages.Unbind(parsing: message) else { return }
    guard case .bind? = slots[request.connID] else {
      // Gone already; C SDKs still wait for the word.
      return send(EdgeMessages.StateClosed(replyFor: message.sequence, connID: request.connID, text: EdgeMessages.Unbind.answerText).message())
    }
    guard let listener = listener(message, token: request.token) else { return }
    slots[request.connID] = nil
    failDials(of: request.connID, text: "the host closed its listener")
    core.removeTerminator(listener.terminatorID)
    send(EdgeMessages.StateClosed(replyFor: message.sequence, connID: request.connID, text: EdgeMessages.Unbind.answerText).message())
  }

  private func updateBind(_ message: Message) {
    guard let request = try? EdgeMessages.UpdateBind(parsing: message), let listener = listener(message, token: request.token) else { return }
    core.updateTerminator(listener.terminatorID, cost: request.cost, precedence: request.precedence, on: handle)
  }

  private func healthEvent(_ message: Message) {
    guard let request = try? EdgeMessages.HealthEvent(parsing: message), let listener = listener(message, token: request.token) else { return }
    core.reportHealth(listener.terminatorID, isHealthy: request.isHealthy, on: handle)
  }

  /// Asks the host to take a circuit (edge-data-plane.md 4.4).
  func dialHost(_ order: DialOrder, promise: EventLoopPromise<DialOutcome>) {
    guard case .bind(let listener)? = slots[order.bindConnID], slots.count < Self.slotLimit else {
      return promise.succeed(.failure(DialFailure(text: "the host is gone", code: .generic)))
    }
    var newConnID: UInt32?
    if listener.bind.wantsRouterProvidedConnIDs {
      let id = freshConnID()
      newConnID = id
      // Registered before the Dial leaves: the host's data may come before its answer.
      slots[id] = .circuit(CircuitEnd(circuit: order.circuit, connID: id, isInitiator: false))
    }
    let peer = order.peerData
    func text(_ id: HeaderID) -> String? { peer[UInt32(id.rawValue)].map { String(decoding: $0, as: UTF8.self) } }
    var dial = EdgeMessages.Dial(
      connID: order.bindConnID, token: listener.bind.token, newConnID: newConnID, circuitID: order.circuit,
      publicKey: peer[UInt32(HeaderID.publicKey.rawValue)], callerID: text(.callerID) ?? "", appData: peer[UInt32(HeaderID.appData.rawValue)],
      connectionMarker: peer[UInt32(HeaderID.connectionMarker.rawValue)], dialerIdentityID: order.dialer.id, dialerIdentityName: order.dialer.name
    ).message()
    dial.sequence = handle.nextSequence()
    let (handle, sequence) = (self.handle, dial.sequence)
    let deadline = handle.loop.scheduleTask(in: order.timeout) { () -> Void in handle.connection?.dialTimedOut(sequence) }
    pendingDials[sequence] = PendingDial(bindConnID: order.bindConnID, newConnID: newConnID, order: order, promise: promise, deadline: deadline)
    underlay.writeAndFlush(dial)
  }

  private func dialTimedOut(_ sequence: Int32) {
    guard let dial = pendingDials.removeValue(forKey: sequence) else { return }
    if let id = dial.newConnID { slots[id] = nil }
    dial.promise.succeed(.failure(DialFailure(text: "timeout waiting for the host's answer", code: .dialTimedOut)))
  }

  private func freshConnID() -> UInt32 {
    repeat {
      lastProvidedConnID = lastProvidedConnID == .max ? EdgeMessages.Dial.firstRouterProvidedConnID : lastProvidedConnID + 1
    } while slots[lastProvidedConnID] != nil
    return lastProvidedConnID
  }

  private func dialAnswer(_ message: Message) {
    guard let replyFor = message.replyFor, let dial = pendingDials.removeValue(forKey: replyFor) else {
      // Too late: without a word the SDK would keep a dead connection.
      if let late = try? EdgeMessages.DialSuccess(parsing: message) {
        let id = late.newConnID >= EdgeMessages.Dial.firstRouterProvidedConnID ? late.newConnID : late.connID
        send(EdgeMessages.StateClosed(replyFor: message.sequence, connID: id, text: "the dial had timed out").message())
      }
      return
    }
    dial.deadline.cancel()
    guard message.contentType == .dialSuccess, let success = try? EdgeMessages.DialSuccess(parsing: message) else {
      if let id = dial.newConnID { slots[id] = nil }
      let text = message.contentType == .dialFailed ? message.text : "unreadable answer to the dial"
      let code: RouteErrorCode = text.contains("rejected by application") ? .rejectedByApplication : .generic
      return dial.promise.succeed(.failure(DialFailure(text: text, code: code)))
    }
    guard let connID = dialled(dial, success, message) else { return }
    let own = CircuitEndpoint(handle: handle, connID: connID, sessionID: dial.order.sessionID)
    guard let usage = core.attachEgress(own, at: dial.order.address, circuit: dial.order.circuit) else {
      slots[connID] = nil
      send(EdgeMessages.StateClosed(connID: connID, text: "xgress unrouted").message())
      return dial.promise.succeed(.failure(DialFailure(text: "the circuit was removed", code: .generic)))
    }
    if case .circuit(let end)? = slots[connID] { end.usage = usage }
    dial.promise.succeed(.success(publicKey: success.publicKey))
  }

  /// The id of the accepted connection. Hosts that choose it themselves wait for a confirmation.
  private func dialled(_ dial: PendingDial, _ success: EdgeMessages.DialSuccess, _ message: Message) -> UInt32? {
    if let id = dial.newConnID {
      if case .circuit? = slots[id] { return id }
      dial.promise.succeed(.failure(DialFailure(text: "the host closed the connection", code: .generic)))
      return nil
    }
    guard slots[success.newConnID] == nil else {
      let text = "sink id \(success.newConnID) already in use"
      send(EdgeMessages.StateClosed(replyFor: message.sequence, connID: dial.bindConnID, text: text).message())
      dial.promise.succeed(.failure(DialFailure(text: text, code: .generic)))
      return nil
    }
    slots[success.newConnID] = .circuit(CircuitEnd(circuit: dial.order.circuit, connID: success.newConnID, isInitiator: false))
    send(EdgeMessages.StateConnected(replyFor: message.sequence, connID: dial.bindConnID).message())
    return success.newConnID
  }

  // MARK: Diagnosis

  private func inspectAnswer(_ message: Message) {
    guard let request = try? EdgeMessages.ConnInspectRequest(parsing: message) else { return }
    let type: ConnType
    switch slots[request.connID] {
    case .bind?: type = .bind
    case .circuit?, .dialing?: type = .dial
    case nil: type = .invalid
    }
    send(EdgeMessages.ConnInspectResponse(replyFor: message.sequence, connID: request.connID, connType: type).message())
  }

  /// Hops of a circuit on one router: this end, the forwarder, the other end, the hosting SDK.
  private func traceRoute(_ message: Message) {
    guard let request = try? EdgeMessages.TraceRoute(parsing: message) else { return }
    func answer(_ type: String, _ id: String, hops: UInt32, error: String? = nil) {
      send(
        EdgeMessages.TraceRouteResponse(
          replyFor: message.sequence, connID: request.connID, hops: hops, timestamp: request.timestamp, hopType: type, hopID: id, error: error
        ).message())
    }
    guard case .circuit(let end)? = slots[request.connID], let far = end.far else {
      return answer("xgress/edge", core.routerID, hops: request.hops, error: "no open circuit for connection id \(request.connID)")
    }
    switch request.hops {
    case 0, 1: answer("xgress/edge", core.routerID, hops: 0)
    case 2: answer("forwarder", core.routerID, hops: 0)
    case 3: answer("xgress/edge", core.routerID, hops: 0)
    default:
      let onward = EdgeMessages.TraceRoute(
        connID: far.connID, hops: request.hops - 3, timestamp: request.timestamp, sourceRequestID: UInt32(bitPattern: message.sequence))
      far.handle.run { $0.send(onward.message()) }
    }
  }

  private func traceRouteResponse(_ message: Message) {
    guard let answer = try? EdgeMessages.TraceRouteResponse(parsing: message), let source = answer.sourceRequestID,
      case .circuit(let end)? = slots[answer.connID], let far = end.far
    else { return }
    let back = EdgeMessages.TraceRouteResponse(
      replyFor: Int32(bitPattern: source), connID: far.connID, hops: answer.hops, timestamp: answer.timestamp, hopType: answer.hopType,
      hopID: answer.hopID,
      error: answer.error)
    far.handle.run { $0.send(back.message()) }
  }
}
