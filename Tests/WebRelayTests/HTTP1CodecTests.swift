import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import WebRelay

@Suite("HTTP/1.1 codecs")
struct HTTP1CodecTests {
  private static let ok = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["content-length": "0"])
  private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  private static func server(_ turns: HTTP1ServerCodec.Turns = .together, grantsUpgrades: Bool = false) throws
    -> EmbeddedChannel
  {
    let channel = EmbeddedChannel()
    try channel.pipeline.syncOperations.addHandler(
      HTTP1ServerCodec(limits: HTTPLimits().message, turns: turns, grantsUpgrades: grantsUpgrades))
    return channel
  }

  private static func client() throws -> EmbeddedChannel {
    let channel = EmbeddedChannel()
    try channel.pipeline.syncOperations.addHandler(HTTP1ClientCodec())
    return channel
  }

  private static func written(_ channel: EmbeddedChannel) throws -> String {
    var text = ""
    while let bytes = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
    return text
  }

  /// Parts of requests that came out: the method of a head, the text of a body, a dot for an end.
  private static func requests(_ channel: EmbeddedChannel) throws -> String {
    var text = ""
    while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
      switch part {
      case .head(let head): text += head.method.rawValue
      case .body(let bytes): text += String(buffer: bytes)
      case .end: text += "."
      }
    }
    return text
  }

  private static func answer(_ channel: EmbeddedChannel, _ head: HTTPResponseHead = HTTP1CodecTests.ok) throws {
    try channel.writeOutbound(HTTPServerResponsePart.head(head))
    try channel.writeOutbound(HTTPServerResponsePart.end(nil))
    channel.embeddedEventLoop.run()
  }

  @Test("requests that come together come out together, or one by one as they are answered")
  func turns() throws {
    let together = try Self.server()
    try together.writeInbound(ByteBuffer(string: Self.get + Self.get))
    #expect(try Self.requests(together) == "GET.GET.")
    let oneByOne = try Self.server(.oneByOne)
    try oneByOne.writeInbound(ByteBuffer(string: Self.get + Self.get))
    try oneByOne.writeInbound(ByteBuffer(string: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"))
    #expect(try Self.requests(oneByOne) == "GET.")
    try Self.answer(oneByOne)
    #expect(try Self.requests(oneByOne) == "GET.")
    try Self.answer(oneByOne)
    #expect(try Self.requests(oneByOne) == "PUThi.")
  }

  @Test(
    "behind a wish for another protocol nothing is read until it is answered; then it is that protocol, or the next request"
  )
  func upgrade() throws {
    let wish = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    let declined = try Self.server(grantsUpgrades: true)
    try declined.writeInbound(ByteBuffer(string: Self.get + wish + Self.get))
    #expect(try Self.requests(declined) == "GET.GET.")
    // The answer to the one before it is none to the wish.
    try Self.answer(declined)
    #expect(try Self.requests(declined) == "")
    try Self.answer(declined)
    #expect(try Self.requests(declined) == "GET.")

    let granted = try Self.server(grantsUpgrades: true)
    try granted.writeInbound(ByteBuffer(string: wish + "no HTTP"))
    #expect(try Self.requests(granted) == "GET.")
    try granted.writeOutbound(
      HTTPServerResponsePart.head(HTTPResponseHead(version: .http1_1, status: .switchingProtocols)))
    let context = try granted.pipeline.syncOperations.context(handlerType: HTTP1ServerCodec.self)
    granted.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    #expect(try granted.readInbound(as: ByteBuffer.self) == ByteBuffer(string: "no HTTP"))

    let deaf = try Self.server()
    try deaf.writeInbound(ByteBuffer(string: wish + Self.get))
    #expect(try Self.requests(deaf) == "GET.GET.")
  }

  @Test(
    "an answer to HEAD is a head, whatever its fields say; chunks are written around bodies of any length, and trailers behind them"
  )
  func answers() throws {
    let channel = try Self.server()
    try channel.writeInbound(ByteBuffer(string: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + Self.get))
    let chunked = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["transfer-encoding": "chunked"])
    try Self.answer(channel, chunked)
    #expect(try Self.written(channel) == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    let long = String(repeating: "y", count: 5000)
    try channel.writeOutbound(HTTPServerResponsePart.head(chunked))
    for text in ["short", "", long] {
      try channel.writeOutbound(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: text))))
    }
    try channel.writeOutbound(HTTPServerResponsePart.end(["x": "a\r\nb: c"]))
    let expected = "5\r\nshort\r\n1388\r\n\(long)\r\n0\r\nx: a  b: c\r\n\r\n"
    #expect(try Self.written(channel).hasSuffix("chunked\r\n\r\n" + expected))
  }

  @Test("an answer without a length ends with the connection, one that breaks off is a fault, and none comes unasked")
  func ends() throws {
    let whole = try Self.client()
    try whole.writeOutbound(
      HTTPClientRequestPart.head(HTTPRequestHead(version: .http1_1, method: .GET, uri: "/a b", headers: ["host": "a"])))
    #expect(try Self.written(whole) == "GET /a%20b HTTP/1.1\r\nhost: a\r\n\r\n")
    try whole.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\n\r\nall"))
    whole.pipeline.fireChannelInactive()
    var parts: [HTTPClientResponsePart] = []
    while let part = try whole.readInbound(as: HTTPClientResponsePart.self) { parts.append(part) }
    #expect(
      parts == [
        .head(HTTPResponseHead(version: .http1_1, status: .ok, headers: ["connection": "close"])),
        .body(ByteBuffer(string: "all")), .end(nil),
      ])
    let broken = try Self.client()
    try broken.writeOutbound(HTTPClientRequestPart.head(HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")))
    try broken.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nall"))
    broken.pipeline.fireChannelInactive()
    #expect(throws: MessageFault.truncated) { try broken.throwIfErrorCaught() }
    let unasked = try Self.client()
    #expect(throws: MessageFault.unasked) {
      try unasked.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    }
  }
}
