import NIOCore
import NIOHTTP1

/// HTTP/1.1 on the client's end of a byte channel: requests out, answers in. An answer of a status below 200 that is
/// not 101 is a head without an end, before the one that counts.
///
/// Behind 101 nothing is read any more; the bytes go on raw when the codec leaves the pipeline.
final class HTTP1ClientCodec: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = HTTPClientResponsePart
  typealias OutboundIn = HTTPClientRequestPart
  typealias OutboundOut = IOData

  private enum Mode {
    case answers
    /// What comes is no answer, and nobody's.
    case unreadable
    /// Bytes go through.
    case raw
  }

  private var mode = Mode.answers
  private var reader: HTTP1Reading
  private var writing = HTTP1Writing()
  private var isReading = false

  init(limits: MessageLimits = .answers) { reader = HTTP1Reading(.answers, limits: limits) }

  /// Bytes came behind what was told. Behind the end of an answer they are nobody's, and must not be read as the next
  /// answer.
  var hasMore: Bool { reader.readableBytes > 0 }

  /// From now on bytes go through both ways, as they are.
  func becomeRaw() { mode = .raw }

  func removeHandler(context: ChannelHandlerContext, removalToken: ChannelHandlerContext.RemovalToken) {
    mode = .raw
    let rest = reader.takeRest()
    if rest.readableBytes > 0 {
      context.fireChannelRead(NIOAny(rest))
      context.fireChannelReadComplete()
    }
    context.leavePipeline(removalToken: removalToken)
  }

  // MARK: Answers

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch mode {
    case .raw: context.fireChannelRead(data)
    case .unreadable: return
    case .answers:
      reader.append(unwrapInboundIn(data))
      takeAnswers(context)
    }
  }

  private func takeAnswers(_ context: ChannelHandlerContext) {
    // Whoever is told of a part may have more bytes come.
    guard !isReading else { return }
    isReading = true
    defer { isReading = false }
    while case .answers = mode {
      do {
        guard let part = try reader.next() else { return }
        tell(part, context)
      } catch {
        return fail(error, context)
      }
    }
  }

  private func tell(_ part: HTTP1Reading.Part, _ context: ChannelHandlerContext) {
    switch part {
    case .head(let head): context.fireChannelRead(wrapInboundOut(.head(HTTPResponseHead(head))))
    case .body(let bytes): context.fireChannelRead(wrapInboundOut(.body(bytes)))
    case .end(let trailers): context.fireChannelRead(wrapInboundOut(.end(trailers)))
    }
  }

  private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
    mode = .unreadable
    _ = reader.takeRest()
    // What came before is no less true.
    context.fireChannelReadComplete()
    context.fireErrorCaught(error)
  }

  /// The server says no more; that may be the end of an answer.
  private func takeEnd(_ context: ChannelHandlerContext) {
    guard case .answers = mode else { return }
    do {
      guard let part = try reader.finish() else { return }
      tell(part, context)
      context.fireChannelReadComplete()
    } catch {
      fail(error, context)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event, mode != .raw {
      takeEnd(context)
      // There is nothing to be had from it any more.
      context.close(promise: nil)
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    takeEnd(context)
    context.fireChannelInactive()
  }

  // MARK: Requests

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .raw = mode { return context.write(data, promise: promise) }
    let allocator = context.channel.allocator
    switch unwrapOutboundIn(data) {
    case .head(let head):
      reader.parser.expectAnswer(toHEAD: head.method == .HEAD)
      context.write(wrapOutboundOut(.byteBuffer(writing.head(head, allocator))), promise: promise)
    case .body(let data):
      let writing = writing
      writing.body(data, allocator, promise) { context.write(wrapOutboundOut($0), promise: $1) }
    case .end(let trailers):
      if let bytes = writing.end(trailers, allocator) {
        context.write(wrapOutboundOut(.byteBuffer(bytes)), promise: promise)
      } else if let promise {
        // In turn behind what was written before.
        context.write(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: promise)
      }
    }
  }
}

extension HTTPResponseHead {
  init(_ head: MessageHead) {
    var (code, phrase) = (200, "")
    if case .answer(let status, let reason) = head.start { (code, phrase) = (status, reason) }
    self.init(
      version: head.minor == 0 ? .http1_0 : .http1_1,
      status: HTTPResponseStatus(statusCode: code, reasonPhrase: phrase),
      headers: HTTPHeaders(head.fields))
    // So that whoever keeps connections reads it where it reads the rest.
    if head.endsConnection { headers.add(name: "connection", value: "close") }
  }
}
