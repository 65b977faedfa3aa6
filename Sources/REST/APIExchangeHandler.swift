import NIOCore
import NIOHTTP1
import Transport
import WebRelay

/// What the requests of one listener share, whatever connection they come on.
struct APIContext: Sendable {
  let server: APIServer
  let limits: APILimits
  let requestID: @Sendable () -> String
  /// Bodies of strangers, by source; and of callers with a session, by identity.
  let strangers: BodyBudget
  let callers: BodyBudget
  /// Bodies of answers that nobody has read yet, by whoever asked.
  let answers: BodyBudget
}

/// The server's end of one HTTP/1.1 connection, or of one HTTP/2 stream: takes requests one after the other, has each
/// judged by its head, then takes its body, within the budgets of whoever sent it.
///
/// Nothing is read while a request is judged or answered. What is refused before its body came is answered at once; the
/// body is then read into nothing, for a while. Requests that came together are answered in turn: the next one begins
/// when the answer before it has left.
final class APIExchangeHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    case idle
    /// The head is judged; the body so far waits.
    case judging
    case receiving(APIServer.Admitted)
    case answering
  }

  /// Parts of later requests that are kept; a client that says more before it has heard anything is answered once, and
  /// asks again on another connection (RFC 9112, 9.3.2).
  private static let queueLimit = 256

  /// Bytes that are taken for a body of unknown length before it begins.
  private static let bodyStep = 4096
  /// Bytes of an answer that is not counted; a refusal is as long.
  private static let smallAnswer = 512
  private static let unread = APIError(
    .rateLimited, "Answers to earlier requests have not been read; read them first, or ask for less at a time")
  private static let noRoom = APIError(
    .rateLimited, "Too many requests with bodies are under way from here; try again in a moment")

  private let api: APIContext
  private let peer: PresentedPeer
  private let stranger: Stranger
  private let jobs: AsyncStream<@Sendable () async -> Void>.Continuation
  /// nil on HTTP/2 streams.
  private let deadline: HeadDeadline?
  private var context: ChannelHandlerContext?
  private var state = State.idle
  private var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
  private var id = ""
  private var body = ByteBuffer()
  private var share: BodyBudget.Share?
  private var answerShare: BodyBudget.Share?
  /// Who the answer counts for.
  private var asker = ""
  private var hasEnded = false
  /// The answer is out, or on its way: what else the request brings is nobody's.
  private var discards = false
  private var hasLeft = false
  private var closes = false
  private var inputClosed = false
  private var timer: Scheduled<Void>?
  private var heldRead = false
  /// What came with a request that is still being answered, and belongs to later ones.
  private var queue = CircularBuffer<HTTPServerRequestPart>()
  /// More came than is kept, or what is no request: all of it is read into nothing.
  private var isLast = false

  init(
    _ api: APIContext, peer: PresentedPeer, stranger: Stranger, deadline: HeadDeadline?,
    jobs: AsyncStream<@Sendable () async -> Void>.Continuation
  ) {
    self.api = api
    self.peer = peer
    self.stranger = stranger
    self.deadline = deadline
    self.jobs = jobs
  }

  private var isHTTP2: Bool { deadline == nil }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    timer?.cancel()
    share = nil
    answerShare = nil
    self.context = nil
  }

  // MARK: The request

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    guard isBusy || !queue.isEmpty else { return take(part) }
    guard !isLast else { return }
    queue.append(part)
    if queue.count > Self.queueLimit { endsWithThis() }
  }

  /// A whole request came and is not answered yet.
  private var isBusy: Bool { if case .idle = state { false } else { hasEnded } }

  /// The request under way is the connection's last: what came behind it is nobody's.
  private func endsWithThis() {
    closes = true
    isLast = true
    queue.removeAll()
    resumeReading()
  }

  private func take(_ part: HTTPServerRequestPart) {
    switch part {
    case .head(let head): begin(head)
    case .body(var bytes): if !discards { take(&bytes) }
    case .end:
      hasEnded = true
      if discards { endOfDiscarded() } else if case .receiving(let admitted) = state { respond(admitted, isLate: true) }
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    guard case .idle = state else { return }
    deadline?.headArrived()
    stranger.works()
    self.head = head
    asker = stranger.source
    id = api.requestID()
    hasEnded = false
    discards = false
    hasLeft = false
    closes = !head.isKeepAlive
    state = .judging
    start(api.limits.strangerRequestTimeout)
    if let length = declaredLength, length > APIServer.bodyLimit { return refuse(tooLarge(APIServer.bodyLimit)) }
    let (request, server) = (request, api.server)
    run({ await server.admit(request) }, then: { $0.judged($1) })
  }

  /// Runs a job in the connection's task and goes on here, if the exchange still waits for it.
  private func run<Output: Sendable>(
    _ job: @escaping @Sendable () async -> Output, then done: @escaping @Sendable (APIExchangeHandler, Output) -> Void
  ) {
    guard let context else { return }
    let (loop, bound) = (context.eventLoop, NIOLoopBound(self, eventLoop: context.eventLoop))
    jobs.yield {
      let output = await job()
      loop.execute { if bound.value.context != nil { done(bound.value, output) } }
    }
  }

  private var request: APIRequest {
    let mark = head.uri.firstIndex(of: "?") ?? head.uri.endIndex
    return APIRequest(
      method: head.method.rawValue, path: String(head.uri[..<mark]),
      query: mark < head.uri.endIndex ? APIServer.query(head.uri[head.uri.index(after: mark)...]) : [],
      headers: head.headers.map { (name: $0.name, value: $0.value) }, peer: peer, requestID: id)
  }

  private var declaredLength: Int? { head.headers.first(name: "content-length").flatMap { Int($0) } }

  private func judged(_ admission: APIServer.Admission) {
    guard case .judging = state else { return }
    switch admission {
    case .refused(let response): answer(response)
    case .admitted(let admitted):
      if let caller = admitted.caller {
        stranger.proven(as: caller.identityID)
        asker = caller.identityID
        if !hasEnded { start(api.limits.requestTimeout) }
      }
      let limit = admitted.bodyLimit
      // Where a client does not say how much comes, as C SDKs do, the share grows with the body.
      let expected = max(body.readableBytes, hasEnded ? 0 : declaredLength ?? Self.bodyStep)
      guard expected <= limit else { return refuse(tooLarge(limit)) }
      if expected > 0 {
        let (budget, key) = admitted.caller.map { (api.callers, $0.identityID) } ?? (api.strangers, stranger.source)
        share = budget.take(expected, for: key, giveWay: giveWay())
        guard share != nil else { return refuse(Self.noRoom) }
      }
      if hasEnded { return respond(admitted, isLate: false) }
      state = .receiving(admitted)
      if !isHTTP2, head.headers.first(name: "expect")?.lowercased() == "100-continue" {
        context?.writeAndFlush(
          wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
      }
      resumeReading()
    }
  }

  private func take(_ bytes: inout ByteBuffer) {
    var limit = APIServer.bodyLimit
    if case .receiving(let admitted) = state { limit = admitted.bodyLimit }
    let length = body.readableBytes + bytes.readableBytes
    guard length <= limit else { return refuse(tooLarge(limit)) }
    if let share, length > body.capacity, !share.grow(to: min(limit, max(length, 2 * body.capacity))) {
      return refuse(Self.noRoom)
    }
    body.writeBuffer(&bytes)
  }

  private func respond(_ admitted: APIServer.Admitted, isLate: Bool) {
    state = .answering
    share?.finish()
    timer?.cancel()
    let (server, bytes) = (api.server, Array(body.readableBytesView))
    body = ByteBuffer()
    run({ await server.respond(to: admitted, body: bytes, isLate: isLate) }, then: { $0.answer($1) })
  }

  /// Called from another connection that needs the room more.
  private func giveWay() -> @Sendable () -> Void {
    guard let loop = context?.eventLoop else { return {} }
    let bound = NIOLoopBound(self, eventLoop: loop)
    let request = id
    return { loop.execute { bound.value.giveWay(request) } }
  }

  private func giveWay(_ request: String) {
    guard id == request, case .receiving = state else { return }
    refuse(Self.noRoom)
  }

  private func tooLarge(_ limit: Int) -> APIError { APIError(.entityTooLarge, "The body exceeds \(limit) bytes") }

  private func refuse(_ error: APIError) {
    let request = request
    answer(api.server.finished(api.server.answer(to: error, request: request), request))
  }

  // MARK: The answer

  private func answer(_ response: APIResponse) {
    guard let context, !discards else { return }
    let response = counted(response)
    state = .answering
    discards = true
    body = ByteBuffer()
    share = nil
    // What an unfinished HTTP/1.1 request still sends would be read as the next one's head.
    if !hasEnded, !isHTTP2 { closes = true }
    if inputClosed, queue.isEmpty { closes = true }
    var fields = HTTPHeaders()
    for (name, value) in response.headers where !value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
      fields.add(name: name, value: value)
    }
    // HTTP/1.0 knows no chunks: there the end of the connection is the end of the answer.
    let isEndedByClose = response.rest != nil && !isHTTP2 && head.version.minor == 0
    if isEndedByClose { closes = true }
    // The length of what does not follow is optional (RFC 9110, 8.6), and in HTTP/2 a length that is not met is a
    // broken stream (RFC 9113, 8.1.1).
    if isHTTP2, head.method == .HEAD {
      fields.remove(name: "content-length")
    } else if response.rest == nil {
      fields.replaceOrAdd(name: "content-length", value: "\(response.body.count)")
    } else if !isHTTP2, !isEndedByClose, head.method != .HEAD {
      fields.add(name: "transfer-encoding", value: "chunked")
    }
    if !isHTTP2 {
      if closes {
        fields.add(name: "connection", value: "close")
      } else if head.version.minor == 0 {
        fields.add(name: "connection", value: "keep-alive")
      }
    }
    let version = isEndedByClose ? HTTPVersion.http1_0 : .http1_1
    context.write(
      wrapOutboundOut(
        .head(HTTPResponseHead(version: version, status: .init(statusCode: response.status), headers: fields))),
      promise: nil)
    if head.method != .HEAD, !response.body.isEmpty {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: nil)
    }
    if let rest = response.rest, head.method != .HEAD { send(rest, from: 0) } else { endAnswer() }
    resumeReading()
  }

  private func endAnswer() {
    guard let context else { return }
    let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    // A client that does not take its answer is not waited for without end.
    start(api.limits.answerTimeout)
    written.assumeIsolated().whenComplete { [weak self] _ in self?.answered() }
  }

  /// Sends what follows part by part, each when the one before has left.
  private func send(_ rest: @escaping APIResponse.Rest, from number: Int) {
    let (server, id) = (api.server, id)
    timer?.cancel()
    context?.flush()
    run({ await server.part(number, of: rest, id) }, then: { $0.send($1, rest, number) })
  }

  private func send(_ part: APIServer.Part, _ rest: @escaping APIResponse.Rest, _ number: Int) {
    guard let context else { return }
    switch part {
    // An empty chunk would be the last one.
    case .bytes(let bytes) where bytes.isEmpty: send(rest, from: number + 1)
    case .bytes(let bytes):
      start(api.limits.answerTimeout)
      let written = context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))))
      written.assumeIsolated().whenSuccess { [weak self] in self?.send(rest, from: number + 1) }
    case .end: endAnswer()
    // Without its last chunk, or with a reset, nobody takes it for whole.
    case .failed: if isHTTP2 { context.close(promise: nil) } else { context.channel.abort() }
    }
  }

  /// Takes room for an answer until it has left. What was written is never told as a failure, and its answer is short.
  /// - Returns: a refusal where there is no room.
  private func counted(_ response: APIResponse) -> APIResponse {
    guard response.body.count > Self.smallAnswer, head.method == .GET else { return response }
    // One answer always has room, however long it is.
    let size = min(response.body.count, api.limits.answers.perAsker)
    answerShare = api.answers.take(size, for: asker, giveWay: breakOff())
    guard answerShare == nil else { return response }
    let request = request
    return api.server.finished(api.server.answer(to: Self.unread, request: request), request)
  }

  /// Called from another connection that needs the room more.
  private func breakOff() -> @Sendable () -> Void {
    guard let loop = context?.eventLoop else { return {} }
    let bound = NIOLoopBound(self, eventLoop: loop)
    let request = id
    return {
      loop.execute {
        guard bound.value.id == request, bound.value.answerShare != nil else { return }
        bound.value.end()
      }
    }
  }

  private func end() {
    guard let context else { return }
    if isHTTP2 { context.close(promise: nil) } else { context.channel.abort() }
  }

  private func answered() {
    answerShare = nil
    guard let context else { return }
    timer?.cancel()
    hasLeft = true
    // A stream ends by itself with its last frame.
    if hasEnded, !isLast { return isHTTP2 ? () : next() }
    // Closed at once, what the client still sends would be answered by a reset, which may overtake our answer.
    start(api.limits.lingering)
    if !isHTTP2 { context.channel.close(mode: .output, promise: nil) }
  }

  private func endOfDiscarded() {
    if hasLeft, !isHTTP2 { context?.close(promise: nil) }
  }

  private func next() {
    guard !closes else { return context?.close(promise: nil) ?? () }
    state = .idle
    if let deadline, let context { deadline.awaitHead(after: context.eventLoop.makeSucceededVoidFuture()) }
    while !isBusy, let part = queue.popFirst() { take(part) }
    if inputClosed { inputEnded() }
    resumeReading()
  }

  // MARK: Time and back pressure

  private func start(_ time: TimeAmount) {
    timer?.cancel()
    timer = context?.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in self?.end() }
  }

  func read(context: ChannelHandlerContext) {
    switch state {
    case _ where isLast: context.read()
    case .judging: heldRead = true
    case .answering where !discards || hasEnded: heldRead = true
    default: context.read()
    }
  }

  private func resumeReading() {
    guard heldRead, let context else { return }
    heldRead = false
    read(context: context)
  }

  // MARK: The end

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event {
      inputClosed = true
      inputEnded()
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// A client that shut down its side may still wait for answers, but not one that broke off a request.
  private func inputEnded() {
    if !isBusy || isLast && hasLeft { context?.close(promise: nil) } else if queue.isEmpty { closes = true }
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    share = nil
    answerShare = nil
    body = ByteBuffer()
    queue.removeAll()
    discards = true
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let fault = error as? MessageFault, !isHTTP2 else { return context.close(promise: nil) }
    // What came behind a good request is none: that one gets its answer, and the connection ends.
    if isBusy { return endsWithThis() }
    if case .idle = state {
      deadline?.headArrived()
      queue.removeAll()
      head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
      id = api.requestID()
      discards = false
      hasLeft = false
    } else if discards {
      // It has its answer; the rest of its body is nobody's.
      return context.close(promise: nil)
    }
    // Nothing more comes out of the decoder: whatever follows is read into nothing.
    closes = true
    isLast = true
    hasEnded = true
    refuse(APIError(.couldNotParseBody, "The request cannot be read as HTTP: \(fault)"))
  }
}
