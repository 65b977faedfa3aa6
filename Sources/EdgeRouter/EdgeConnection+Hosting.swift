import Access
import Fabric
import NIOCore
import Transport
import Wire

/// What a hosting SDK asks, and what it is asked.
extension EdgeConnection {
  func bind(_ message: Message) {
    let request: EdgeMessages.Bind
    do { request = try EdgeMessages.Bind(parsing: message) } catch { return refuseUnreadable(message, error) }
    switch slots[request.connID] {
    case nil, .bind?: break
    default:
      return refuse(message, StructuredError(message: "sink id \(request.connID) already in use", code: .internal))
    }
    guard let place = handle.share.take(.bind) else {
      return refuseBusy(message, "this identity hosts \(handle.share.limits.binds) services at this router already")
    }
    guard slots.count + hosting.waitingBinds < Self.slotLimit else {
      return refuseBusy(message, "too many connections on this channel")
    }
    guard !handle.share.isFull else {
      return refuseBusy(message, "too many binds of this identity wait at this router")
    }
    let cost = message.body.count + message.headers.encodedLength + HostingQueue.overhead
    handle.share.addWaiting(cost)
    hosting.add(HostingQueue.Bind(request: request, sequence: message.sequence, place: place, cost: cost))
    host()
  }

  /// Begins with what waits, as much of it as goes at a time.
  private func host() {
    let (core, handle) = (self.core, self.handle)
    while let work = hosting.next({ handle.share.addWaiting(-$0.cost) }) {
      if case .bind(let bind) = work { handle.share.addWaiting(-bind.cost) }
      jobs.yield {
        switch work {
        case .bind(let bind): await core.bind(bind, on: handle)
        case .establish(let id): await core.establish(id)
        }
        handle.run {
          $0.hosting.ended()
          $0.host()
        }
      }
    }
  }

  func dropBinds() {
    for bind in hosting.takeAll() { handle.share.addWaiting(-bind.cost) }
  }

  /// The session may host: confirm, then make the terminator known.
  func acceptBind(_ bind: HostingQueue.Bind, presented: PresentedServiceSession, isEncrypted: Bool) {
    guard hosting.settle(bind) else { return }
    let (request, sequence, place) = (bind.request, bind.sequence, bind.place)
    switch slots[request.connID] {
    case nil, .bind?: break
    default:
      let error = StructuredError(message: "sink id \(request.connID) already in use", code: .internal)
      return answer(
        EdgeMessages.StateClosed(replyFor: sequence, connID: request.connID, text: error.message, error: error)
          .message())
    }
    let confirmation = EdgeMessages.StateConnected(
      replyFor: sequence, connID: request.connID, routerProvidesConnIDs: request.wantsRouterProvidedConnIDs
    ).message()
    let outcome: HostedTerminators<UInt64>.BindOutcome
    do throws(EdgeRefusal) {
      outcome = try core.host(request, presented, isEncrypted: isEncrypted, on: handle, place)
    } catch {
      return refuse(request, sequence, error.error)
    }
    let hosted: RouterCore.Hosted
    switch outcome {
    case .stale: return
    case .duplicate: return answer(confirmation)
    case .new(let new): hosted = new
    case .replaces(let new, let old):
      hosted = new
      let error = StructuredError(message: "replaced by a newer bind of the same listener", code: .ok)
      if let owner = core.handle(old.connection) {
        owner.run { $0.endBind(old.connID, terminator: old.id, error: error) }
      }
    }
    // Another listener that the SDK had under this id is over: nothing could reach it any more.
    if case .bind(let old)? = slots[request.connID], old.terminatorID != hosted.id {
      failDials(of: request.connID, text: "the host closed its listener")
      core.removeTerminator(old.terminatorID)
    }
    occupy(request.connID, .bind(BoundListener(terminatorID: hosted.id, bind: request)))
    answer(confirmation)
    hosting.establish(hosted.id)
    host()
  }

  func refuseBind(_ bind: HostingQueue.Bind, _ error: StructuredError) {
    _ = hosting.settle(bind)
    refuse(bind.request, bind.sequence, error)
  }

  /// Refused binds are answered at once, repeated ones with a delay: some SDKs ask again without waiting
  /// (edge-data-plane.md 9.5).
  private func refuse(_ request: EdgeMessages.Bind, _ sequence: Int32, _ error: StructuredError) {
    let refusal = EdgeMessages.StateClosed(
      replyFor: sequence, connID: request.connID, text: error.message, error: error
    ).message()
    let isRepeated = lastBindRefusal.map { NIODeadline.now() - $0 < .seconds(2) } ?? false
    lastBindRefusal = .now()
    guard isRepeated else { return answer(refusal) }
    let handle = self.handle
    _ = handle.loop.scheduleTask(in: .milliseconds(250)) { handle.connection?.answer(refusal) }
  }

  /// When a BindSuccess is sent once more to an SDK that may have lost it: soon, and when a busy machine has got round
  /// to its listener.
  private static let confirmations = [TimeAmount.milliseconds(250), .seconds(2)]

  /// The controller knows the terminator. - Parameter confirmsAgain: whether the SDK may lose the first BindSuccess.
  func established(_ connID: UInt32, terminator: String, confirmsAgain: Bool) {
    guard case .bind(let listener)? = slots[connID], listener.terminatorID == terminator else { return }
    if listener.bind.supportsBindSuccess {
      send(EdgeMessages.BindSuccess(connID: connID).message())
      let (handle, delays) = (self.handle, confirmsAgain ? Self.confirmations : [])
      for delay in delays {
        _ = handle.loop.scheduleTask(in: delay) { () -> Void in
          handle.connection?.confirmAgain(connID, terminator: terminator)
        }
      }
    }
    guard listener.bind.supportsInspect else { return }
    var request = EdgeMessages.ConnInspectRequest(connID: connID).message()
    request.sequence = handle.nextSequence()
    // Bounded by the number of binds an SDK makes without ever answering.
    if pendingInspects.count > 1024 { pendingInspects = [:] }
    pendingInspects[request.sequence] = connID
    underlay.writeAndFlush(request)
  }

  private func confirmAgain(_ connID: UInt32, terminator: String) {
    guard case .bind(let listener)? = slots[connID], listener.terminatorID == terminator else { return }
    send(EdgeMessages.BindSuccess(connID: connID).message())
  }

  func inspected(_ message: Message) {
    guard let replyFor = message.replyFor, let connID = pendingInspects.removeValue(forKey: replyFor),
      let answer = try? EdgeMessages.ConnInspectResponse(parsing: message), answer.connType != .bind,
      case .bind(let listener)? = slots[connID]
    else { return }
    vacate(connID)
    failDials(of: connID, text: "the host closed its listener")
    core.removeTerminator(listener.terminatorID)
  }

  /// The listener of a request that proves itself with the token it was bound with.
  private func listener(_ message: Message, token: [UInt8]) -> BoundListener? {
    guard let connID = message.headers.uint32(.connID), case .bind(let listener)? = slots[connID] else { return nil }
    guard listener.bind.token == token else {
      refuse(
        message,
        StructuredError(
          message: EdgeMessages.StateClosed.invalidSessionText, code: .invalidSession, retryHint: .startOver))
      return nil
    }
    return listener
  }

  func unbind(_ message: Message) {
    guard let request = try? EdgeMessages.Unbind(parsing: message) else { return }
    hosting.withdraw(request.connID)
    guard case .bind? = slots[request.connID] else {
      // Nothing is bound under this id any more. It is answered all the same: C SDKs wait for an answer to each Unbind.
      return answer(
        EdgeMessages.StateClosed(
          replyFor: message.sequence, connID: request.connID, text: EdgeMessages.Unbind.answerText
        ).message())
    }
    guard let listener = listener(message, token: request.token) else { return }
    vacate(request.connID)
    failDials(of: request.connID, text: "the host closed its listener")
    core.removeTerminator(listener.terminatorID)
    answer(
      EdgeMessages.StateClosed(replyFor: message.sequence, connID: request.connID, text: EdgeMessages.Unbind.answerText)
        .message())
  }

  func updateBind(_ message: Message) {
    guard let request = try? EdgeMessages.UpdateBind(parsing: message),
      let listener = listener(message, token: request.token)
    else { return }
    note(request.connID, listener) {
      $0.cost = request.cost ?? $0.cost
      $0.precedence = request.precedence ?? $0.precedence
    }
  }

  func healthEvent(_ message: Message) {
    guard let request = try? EdgeMessages.HealthEvent(parsing: message),
      let listener = listener(message, token: request.token)
    else { return }
    note(request.connID, listener) { $0.isHealthy = request.isHealthy }
  }

  /// What a host said of its service and the controller has not heard. The last word counts: a host that says it a
  /// thousand times in a second costs the controller, whose channel all of the router's SDKs share, no more than one
  /// that says it once.
  struct HostNews: Sendable {
    let terminatorID: String
    var cost: UInt16?
    var precedence: PrecedenceCode?
    var isHealthy: Bool?
  }

  private func note(_ connID: UInt32, _ listener: BoundListener, _ change: (inout HostNews) -> Void) {
    var news =
      hostNews[connID].flatMap { $0.terminatorID == listener.terminatorID ? $0 : nil }
      ?? HostNews(terminatorID: listener.terminatorID)
    change(&news)
    hostNews[connID] = news
    reportNews()
  }

  /// One report a channel is under way at a time.
  func reportNews() {
    guard !hostNews.isEmpty, !isReporting else { return }
    let (core, handle) = (self.core, self.handle)
    isReporting = start {
      while let news = try? await handle.nextNews() { await core.report(news, on: handle) }
    }
  }

  /// What is to be reported next; nil ends the reporting.
  func takeNews() -> HostNews? {
    while let (connID, news) = hostNews.popFirst() {
      if case .bind(let listener)? = slots[connID], listener.terminatorID == news.terminatorID { return news }
    }
    isReporting = false
    return nil
  }

  /// Dials that a host may leave unanswered at a time; each gives up after 5 s.
  private static let pendingDialLimit = 4096
  /// Bytes of unsent messages at which a host gets no further Dials: thousands of them, behind what the socket took.
  private static let dialQueueLimit = 1024 * 1024

  /// Asks the host to take a circuit (edge-data-plane.md 4.4).
  func dialHost(_ order: DialOrder, promise: EventLoopPromise<DialOutcome>) {
    func fail(_ text: String) { promise.succeed(.failure(DialFailure(text: text, code: .generic))) }
    guard case .bind(let listener)? = slots[order.bindConnID], slots.count < Self.slotLimit else {
      return fail("the host is gone")
    }
    guard pendingDials.count < Self.pendingDialLimit else {
      return fail("the host has \(Self.pendingDialLimit) dials to answer")
    }
    // Diallers must not be able to fill what is queued for a host until its channel is given up.
    guard underlay.queuedBytes < Self.dialQueueLimit else { return fail("the host does not read") }
    var newConnID: UInt32?
    if listener.bind.wantsRouterProvidedConnIDs {
      let id = freshConnID()
      newConnID = id
      // Registered before the Dial leaves: the host's data may come before its answer.
      occupy(id, .circuit(CircuitEnd(circuit: order.circuit, connID: id, place: nil)))
    }
    let peer = order.peerData
    func text(_ id: HeaderID) -> String? { peer[id.peerDataKey].map { String(decoding: $0, as: UTF8.self) } }
    var dial = EdgeMessages.Dial(
      connID: order.bindConnID, token: listener.bind.token, newConnID: newConnID, circuitID: order.circuit,
      publicKey: peer[HeaderID.publicKey.peerDataKey], callerID: text(.callerID) ?? "",
      appData: peer[HeaderID.appData.peerDataKey],
      connectionMarker: peer[HeaderID.connectionMarker.peerDataKey], dialerIdentityID: order.dialer.id,
      dialerIdentityName: order.dialer.name
    ).message()
    dial.sequence = handle.nextSequence()
    let (handle, sequence) = (self.handle, dial.sequence)
    let deadline = handle.loop.scheduleTask(in: order.timeout) { () -> Void in handle.connection?.dialTimedOut(sequence)
    }
    pendingDials.add(
      PendingDials.Entry(
        bindConnID: order.bindConnID, newConnID: newConnID, order: order, promise: promise, deadline: deadline),
      sequence: sequence)
    underlay.writeAndFlush(dial)
    // Whoever waits for this answer needs the channel to be read.
    if !backlogs.isEmpty { settle() }
  }

  private func dialTimedOut(_ sequence: Int32) {
    guard let dial = pendingDials.take(sequence) else { return }
    if isPaused { lostDial = true }
    if let id = dial.newConnID { vacate(id) }
    dial.promise.succeed(.failure(DialFailure(text: "timeout waiting for the host's answer", code: .dialTimedOut)))
  }

  private func freshConnID() -> UInt32 {
    repeat {
      lastProvidedConnID =
        lastProvidedConnID == .max ? EdgeMessages.Dial.firstRouterProvidedConnID : lastProvidedConnID + 1
    } while slots[lastProvidedConnID] != nil
    return lastProvidedConnID
  }

  func dialAnswer(_ message: Message) {
    guard let replyFor = message.replyFor, let dial = pendingDials.take(replyFor) else {
      // Too late: without a word the SDK would keep a dead connection.
      if let late = try? EdgeMessages.DialSuccess(parsing: message) {
        let id = late.newConnID >= EdgeMessages.Dial.firstRouterProvidedConnID ? late.newConnID : late.connID
        answer(
          EdgeMessages.StateClosed(replyFor: message.sequence, connID: id, text: "the dial had timed out").message())
      }
      return
    }
    dial.deadline.cancel()
    guard message.contentType == .dialSuccess, let success = try? EdgeMessages.DialSuccess(parsing: message) else {
      if let id = dial.newConnID { vacate(id) }
      let text = message.contentType == .dialFailed ? Self.passed(message.text) : "unreadable answer to the dial"
      let code: RouteErrorCode = text.contains("rejected by application") ? .rejectedByApplication : .generic
      return dial.promise.succeed(.failure(DialFailure(text: text, code: code)))
    }
    guard let connID = dialled(dial, success, message) else { return }
    let own = CircuitEndpoint(handle: handle, connID: connID, sessionID: dial.order.sessionID)
    guard let usage = core.attachEgress(own, at: dial.order.address, circuit: dial.order.circuit) else {
      vacate(connID)
      answer(EdgeMessages.StateClosed(connID: connID, text: "xgress unrouted").message())
      return dial.promise.succeed(.failure(DialFailure(text: "the circuit was removed", code: .generic)))
    }
    if case .circuit(let end)? = slots[connID] { end.usage = usage }
    dial.promise.succeed(.success(publicKey: success.publicKey))
  }

  /// The id of the accepted connection. Hosts that choose it themselves wait for a confirmation.
  private func dialled(_ dial: PendingDials.Entry, _ success: EdgeMessages.DialSuccess, _ message: Message) -> UInt32? {
    if let id = dial.newConnID {
      if case .circuit(let end)? = slots[id], end.circuit == dial.order.circuit { return id }
      dial.promise.succeed(.failure(DialFailure(text: "the host closed the connection", code: .generic)))
      return nil
    }
    guard slots[success.newConnID] == nil else {
      let text = "sink id \(success.newConnID) already in use"
      answer(EdgeMessages.StateClosed(replyFor: message.sequence, connID: dial.bindConnID, text: text).message())
      dial.promise.succeed(.failure(DialFailure(text: text, code: .generic)))
      return nil
    }
    occupy(success.newConnID, .circuit(CircuitEnd(circuit: dial.order.circuit, connID: success.newConnID, place: nil)))
    answer(EdgeMessages.StateConnected(replyFor: message.sequence, connID: dial.bindConnID).message())
    return success.newConnID
  }
}
