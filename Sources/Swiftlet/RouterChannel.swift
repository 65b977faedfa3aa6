package import NIOCore
import SealedStream
import Transport
import Wire

/// The channel to one edge router: its connections, listeners and requests. Bound to its event loop, no locks.
///
/// Data messages go from the read buffer straight to their connection, which opens them in place; everything else is
/// copied out and handled as a message.
final class RouterChannel: FrameReceiver {
  /// How a request was answered; nil when the channel went away first.
  typealias Reply = (Message?) -> Void

  /// A service hosted on this channel.
  struct Listener {
    /// Connections that a router may bring in; one of good will keeps its diallers to far fewer.
    static let connectionLimit = 65_536

    let token: [UInt8]
    let keys: KeyPair?
    /// A dialler wants in.
    let offered: (IncomingDial) -> Void
    /// The router knows the terminator.
    let established: () -> Void
    /// The router ended the listener, or the channel is gone.
    let ended: (OverlayError) -> Void
    /// It was told: a router may say it again, and as often as it likes.
    fileprivate var isEstablished = false

    init(
      token: [UInt8], keys: KeyPair?, offered: @escaping (IncomingDial) -> Void, established: @escaping () -> Void,
      ended: @escaping (OverlayError) -> Void
    ) {
      self.token = token
      self.keys = keys
      self.offered = offered
      self.established = established
      self.ended = ended
    }
  }

  let eventLoop: any EventLoop
  let router: String
  let supportsBindSuccess: Bool
  private let underlay: Underlay
  private let closed: EventLoopPromise<Void>
  private var connections: [UInt32: OverlayConnection] = [:]
  private var listeners: [UInt32: Listener] = [:]
  private var replies: [Int32: Reply] = [:]
  private var dirty: [OverlayConnection] = []
  /// Connections whose delegate does not read; while there is one, the channel does not read either.
  private var full: Set<UInt32> = []
  private var strayAnswers = StrayAnswers()
  private var sequence: Int32 = 0
  private var lastConnID: UInt32 = 0

  /// Ends when the channel does.
  var closeFuture: EventLoopFuture<Void> { closed.futureResult }

  init(underlay: Underlay, answer: HelloDialer.Answer, router: String) {
    self.underlay = underlay
    eventLoop = underlay.eventLoop
    self.router = router
    supportsBindSuccess = answer.headers.bool(.supportsBindSuccess) ?? false
    closed = underlay.eventLoop.makePromise()
  }

  var isOpen: Bool { underlay.isOpen }
  var isWritable: Bool { underlay.isWritable }
  var connectionCount: Int { connections.count }
  /// Whether the channel does not read because a connection's bytes are not taken.
  var isPaused: Bool { !full.isEmpty }
  var allocator: ByteBufferAllocator { underlay.allocator }
  /// Closes when what was written has left, a second later at the latest.
  /// - Returns: completed when it is closed.
  func leave() -> EventLoopFuture<Void> {
    underlay.closeAfterFlush()
    return underlay.channel.closeFuture
  }

  // MARK: Out

  func write(_ frames: ByteBuffer) { underlay.write(frames) }

  func flush() { underlay.flush() }

  func send(_ message: Message) {
    var message = message
    message.sequence = nextSequence()
    underlay.writeAndFlush(message)
  }

  /// Sends a message that the router caused.
  private func answer(_ message: Message) {
    var message = message
    message.sequence = nextSequence()
    underlay.writeAnswer(message)
  }

  private func nextSequence() -> Int32 {
    sequence = sequence == .max ? 1 : sequence + 1
    return sequence
  }

  /// The fixed part of a Data frame.
  func writeFrameHead(_ buffer: inout ByteBuffer, headersLength: Int, bodyLength: Int) {
    buffer.writeMultipleIntegers(
      FrameHeader.magic, ContentType.data.rawValue, nextSequence(), UInt32(headersLength), UInt32(bodyLength),
      endianness: .little)
  }

  /// Sends a request; `reply` is called once.
  private func request(_ message: Message, timeout: TimeAmount, _ reply: @escaping Reply) {
    var message = message
    message.sequence = nextSequence()
    let number = message.sequence
    let deadline = eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] () -> Void in
      self?.replies.removeValue(forKey: number)?(nil)
    }
    replies[number] = { answer in
      deadline.cancel()
      reply(answer)
    }
    underlay.writeAndFlush(message)
  }

  private func freshConnID() -> UInt32 {
    repeat {
      lastConnID = lastConnID >= 0x7FFF_FFFD ? 1 : lastConnID + 1
    } while connections[lastConnID] != nil || listeners[lastConnID] != nil
    return lastConnID
  }

  // MARK: Dialling

  /// Asks for a circuit (edge-data-plane.md 4.2).
  /// - Parameters:
  ///   - encrypted: whether the service demands end-to-end encryption.
  ///   - done: called once, on the event loop.
  func dial(
    service: String, token: String, encrypted: Bool, options: Overlay.DialOptions,
    done: @escaping (Result<OverlayConnection, OverlayError>) -> Void
  ) {
    let connID = freshConnID()
    let keys = encrypted ? KeyPair() : nil
    let connection = OverlayConnection(channel: self, connID: connID)
    connections[connID] = connection
    let connect = EdgeMessages.Connect(
      connID: connID, token: token,
      options: EdgeMessages.DialOptions(
        publicKey: keys?.publicKey, callerID: options.callerID, terminatorIdentity: options.terminator,
        appData: options.appData))
    request(connect.message(), timeout: TimeAmount(options.timeout)) { [self] answer in
      func refuse(_ error: OverlayError, tell: Bool) {
        connections[connID] = nil
        if tell { send(EdgeMessages.StateClosed(connID: connID, text: "\(error)").message()) }
        done(.failure(error))
      }
      guard let answer else {
        let error: OverlayError =
          isOpen
          ? .timedOut(what: "the dial of \"\(service)\"")
          : .channelLost(router: router, reason: "it closed during a dial")
        return refuse(error, tell: isOpen)
      }
      guard let connected = try? EdgeMessages.StateConnected(parsing: answer) else {
        let closed = try? EdgeMessages.StateClosed(parsing: answer)
        return refuse(
          .dialRefused(service: service, text: closed?.text ?? "no reason given", error: closed?.refusal), tell: false)
      }
      if let keys {
        guard let peer = connected.publicKey else { return refuse(.peerDoesNotEncrypt(service: service), tell: true) }
        do throws(SealedStreamError) {
          connection.encrypt(try keys.clientSessionKeys(hostPublicKey: peer))
        } catch {
          return refuse(.encryptionBroken(error), tell: true)
        }
      }
      done(.success(connection))
    }
  }

  // MARK: Hosting

  /// Hosts a service (edge-data-plane.md 4.3).
  /// - Parameter done: called once, when the router accepted the listener or refused it. - Returns: the listener's
  ///   connection id.
  func bind(
    service: String, token: String, listenerID: [UInt8], options: Overlay.ListenOptions, listener: Listener,
    done: @escaping (OverlayError?) -> Void
  ) -> UInt32 {
    let connID = freshConnID()
    listeners[connID] = listener
    let bind = EdgeMessages.Bind(
      connID: connID, token: Array(token.utf8), publicKey: listener.keys?.publicKey, cost: options.cost,
      precedence: options.precedence?.wire,
      terminatorIdentity: options.terminator, wantsRouterProvidedConnIDs: true, listenerID: listenerID,
      supportsInspect: true,
      supportsBindSuccess: true)
    request(bind.message(), timeout: .seconds(10)) { [self] answer in
      guard let answer else {
        listeners[connID] = nil
        return done(
          isOpen
            ? .timedOut(what: "hosting \"\(service)\"")
            : .channelLost(router: router, reason: "it closed during a bind"))
      }
      guard (try? EdgeMessages.StateConnected(parsing: answer)) != nil else {
        listeners[connID] = nil
        let closed = try? EdgeMessages.StateClosed(parsing: answer)
        return done(.bindRefused(service: service, text: closed?.text ?? "no reason given", error: closed?.refusal))
      }
      done(nil)
      if !supportsBindSuccess { established(connID) }
    }
    return connID
  }

  private func established(_ connID: UInt32) {
    guard let listener = listeners[connID], !listener.isEstablished else { return }
    listeners[connID]?.isEstablished = true
    listener.established()
  }

  /// Ends a listener; connections that came through it live on.
  func unbind(_ connID: UInt32) {
    guard let listener = listeners.removeValue(forKey: connID), isOpen else { return }
    send(EdgeMessages.Unbind(connID: connID, token: listener.token).message())
    send(EdgeMessages.StateClosed(connID: connID, text: "the listener was closed").message())
  }

  private func offered(_ message: Message) {
    guard let dial = try? EdgeMessages.Dial(parsing: message) else { return }
    func refuse(_ text: String) {
      answer(EdgeMessages.DialFailed(replyFor: message.sequence, connID: dial.connID, text: text).message())
    }
    guard let listener = listeners[dial.connID] else { return refuse("nobody listens here") }
    guard dial.token == listener.token else { return refuse("invalid token") }
    guard connections.count < Listener.connectionLimit else {
      return refuse("the host has \(Listener.connectionLimit) connections already")
    }
    guard let connID = dial.newConnID, connections[connID] == nil else {
      return refuse("a new connection id of the router is required")
    }
    var session: SessionKeys?
    // A dialler that still takes the service for an encrypted one gets a key for this connection.
    let own = listener.keys == nil && dial.publicKey != nil ? KeyPair() : nil
    if let keys = listener.keys ?? own {
      guard let peer = dial.publicKey else {
        return refuse("the service requires end-to-end encryption, and the dialler sent no key")
      }
      do throws(SealedStreamError) { session = try keys.serverSessionKeys(dialerPublicKey: peer) } catch {
        return refuse("\(error)")
      }
    }
    let connection = OverlayConnection(channel: self, connID: connID)
    connections[connID] = connection
    let caller = IncomingDial.Caller(
      identityID: dial.dialerIdentityID, identityName: dial.dialerIdentityName, claimedName: dial.callerID,
      appData: dial.appData)
    let keys = session
    listener.offered(
      IncomingDial(eventLoop: eventLoop, caller: caller) { [weak self] verdict in
        guard let self, isOpen, connections[connID] === connection else { return nil }
        switch verdict {
        case .reject(let text):
          connections[connID] = nil
          refuse(text.isEmpty ? "refused by the host" : text)
          return nil
        case .accept:
          answer(
            EdgeMessages.DialSuccess(
              replyFor: message.sequence, connID: dial.connID, newConnID: connID, publicKey: own?.publicKey
            ).message())
          if let keys { connection.encrypt(keys) }
          return connection
        }
      })
  }

  // MARK: Connections

  func remove(_ connID: UInt32) { connections[connID] = nil }

  /// The connection's delegate took its bytes, or the connection is gone.
  func resume(_ connID: UInt32) {
    guard full.remove(connID) != nil, full.isEmpty else { return }
    underlay.setReading(true)
  }

  private func stateClosed(_ message: Message) {
    guard let connID = message.headers.uint32(.connID) else { return }
    let closed = try? EdgeMessages.StateClosed(parsing: message)
    let text = closed?.text ?? ""
    if let connection = connections.removeValue(forKey: connID) {
      full.remove(connID)
      if full.isEmpty { underlay.setReading(true) }
      connection.ended(.connectionClosed(text: text))
    } else if let listener = listeners.removeValue(forKey: connID) {
      listener.ended(.bindRefused(service: "", text: text, error: closed?.refusal))
    }
  }

  // MARK: FrameReceiver

  func receive(_ frames: inout ByteBuffer, from underlay: Underlay) {
    let burst = frames
    let limits = underlay.limits
    burst.withUnsafeReadableBytes { bytes in
      var offset = 0
      while bytes.count - offset >= FrameHeader.size {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
        guard let header = try? FrameHeader.parse(rest, limits: limits), header.frameLength <= rest.count else { break }
        let frame = UnsafeRawBufferPointer(rebasing: rest[..<header.frameLength])
        offset += header.frameLength
        if header.contentType == .data { data(frame, header) } else { handle(frame) }
      }
    }
  }

  private func data(_ frame: UnsafeRawBufferPointer, _ header: FrameHeader) {
    let bodyStart = FrameHeader.size + header.headersLength
    // Two ids, or one of another width: no router that means well sends it.
    guard let fields = try? EdgeFields.scan(UnsafeRawBufferPointer(rebasing: frame[FrameHeader.size..<bodyStart]))
    else { return underlay.close() }
    guard let connID = fields.connID else { return }
    guard let connection = connections[connID] else {
      guard strayAnswers.allows(connID, now: .now()) else { return }
      return answer(EdgeMessages.StateClosed(connID: connID, text: "unknown connection id \(connID)").message())
    }
    let wasDirty = connection.isDirty
    connection.receive(UnsafeRawBufferPointer(rebasing: frame[bodyStart...]), flags: fields.flags)
    if connection.isDirty, !wasDirty { dirty.append(connection) }
  }

  private func handle(_ frame: UnsafeRawBufferPointer) {
    guard let message = try? Message.parse(frame, limits: underlay.limits) else { return underlay.close() }
    // What came before belongs before: a close must not overtake data of the same burst.
    deliverDirty()
    if let number = message.replyFor, let reply = replies.removeValue(forKey: number) { return reply(message) }
    switch message.contentType {
    case .latency:
      var answer = Message.result(success: true, replyTo: message)
      answer.headers[.reflected] = message.headers[.reflected]
      self.answer(answer)
    case .dial: offered(message)
    case .stateClosed: stateClosed(message)
    case .bindSuccess: if let connID = message.headers.uint32(.connID) { established(connID) }
    case .connInspectRequest: inspected(message)
    default: break
    }
  }

  private func inspected(_ message: Message) {
    guard let request = try? EdgeMessages.ConnInspectRequest(parsing: message) else { return }
    let type: ConnType =
      listeners[request.connID] != nil ? .bind : connections[request.connID] != nil ? .dial : .invalid
    answer(
      EdgeMessages.ConnInspectResponse(replyFor: message.sequence, connID: request.connID, connType: type).message())
  }

  private func deliverDirty() {
    guard !dirty.isEmpty else { return }
    let batch = dirty
    dirty.removeAll(keepingCapacity: true)
    for connection in batch where !connection.deliver() && connection.isOpen { full.insert(connection.connID) }
    if !full.isEmpty { underlay.setReading(false) }
  }

  func readBurstEnded(on underlay: Underlay) { deliverDirty() }

  func writabilityChanged(on underlay: Underlay) {
    guard underlay.isWritable else { return }
    for connection in Array(connections.values) { connection.writabilityChanged() }
  }

  func closed(_ underlay: Underlay, error: (any Error)?) {
    let reason = error.map { ErrorText.words($0) } ?? "the router closed it"
    let lost = OverlayError.channelLost(router: router, reason: reason)
    deliverDirty()
    let open = connections
    connections = [:]
    let hosting = listeners
    listeners = [:]
    let waiting = replies
    replies = [:]
    for reply in waiting.values { reply(nil) }
    for connection in open.values { connection.ended(lost) }
    for listener in hosting.values { listener.ended(lost) }
    closed.succeed(())
  }
}

/// A dialler that waits for the host's word. Bound to its event loop.
package final class IncomingDial {
  /// Who dials, as far as the router tells.
  package struct Caller: Sendable {
    /// Authenticated by the router.
    package let identityID: String?
    package let identityName: String?
    /// What the dialler says of itself.
    package let claimedName: String
    package let appData: [UInt8]?
  }

  enum Verdict {
    case accept
    case reject(String)
  }

  package let eventLoop: any EventLoop
  package let caller: Caller
  private var answer: ((Verdict) -> OverlayConnection?)?

  init(eventLoop: any EventLoop, caller: Caller, answer: @escaping (Verdict) -> OverlayConnection?) {
    self.eventLoop = eventLoop
    self.caller = caller
    self.answer = answer
  }

  deinit { _ = answer?(.reject("the host gave no answer")) }

  /// - Returns: the connection; nil when the dialler is gone. Call `start` on it.
  package func accept() -> OverlayConnection? { take()?(.accept) }

  package func reject(_ text: String) { _ = take()?(.reject(text)) }

  private func take() -> ((Verdict) -> OverlayConnection?)? {
    defer { answer = nil }
    return answer
  }
}
