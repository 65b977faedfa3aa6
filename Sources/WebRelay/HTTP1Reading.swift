import NIOCore
import NIOHTTP1

/// Bytes that came on a connection, and the messages in them; pieces of bodies are slices of what came.
struct HTTP1Reading {
  enum Part {
    case head(MessageHead)
    case body(ByteBuffer)
    case end(HTTPHeaders?)
  }

  var parser: MessageParser
  private var bytes = ByteBuffer()

  init(_ kind: MessageParser.Kind, limits: MessageLimits) { parser = MessageParser(kind, limits: limits) }

  /// Bytes that nobody has taken: more than none only while nobody asks, or when they are no HTTP.
  var readableBytes: Int { bytes.readableBytes }

  mutating func append(_ more: ByteBuffer) {
    guard bytes.readableBytes > 0 else { return bytes = more }
    // Some are always left where requests come faster than they are answered: those before them must not stay for as
    // long as the connection does.
    if bytes.readerIndex > bytes.readableBytes { bytes.discardReadBytes() }
    bytes.writeImmutableBuffer(more)
  }

  /// - Throws: `MessageFault`.
  mutating func next() throws -> Part? {
    let input = bytes
    var position = 0
    let event = try input.withUnsafeReadableBytes { try parser.next($0, &position) }
    if position == input.readableBytes { bytes = ByteBuffer() } else { bytes.moveReaderIndex(forwardBy: position) }
    return event.map { Self.part($0, input) }
  }

  /// - Throws: `MessageFault.truncated`.
  mutating func finish() throws -> Part? { try parser.finish().map { Self.part($0, ByteBuffer()) } }

  /// What came and is no HTTP.
  mutating func takeRest() -> ByteBuffer {
    let rest = bytes
    bytes = ByteBuffer()
    return rest
  }

  private static func part(_ event: MessageEvent, _ input: ByteBuffer) -> Part {
    switch event {
    case .head(let head): .head(head)
    case .body(let range):
      .body(input.getSlice(at: input.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer())
    case .end(let trailers): .end(trailers.isEmpty ? nil : HTTPHeaders(trailers))
    }
  }
}
