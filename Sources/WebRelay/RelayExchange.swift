import NIOCore
import NIOHTTP1

/// One request and its answer, as the relay carries them.
final class RelayExchange {
  let head: HTTPRequestHead
  let framing: RequestFraming
  let started: NIODeadline
  var upstream: Upstream?
  var forwarded: HTTPRequestHead?
  var connection: UpstreamHandler?
  /// Body that came while nobody could take it; bounded, as nothing is read meanwhile.
  var early: [HTTPServerRequestPart] = []
  var requestEnded = false
  /// The client sends its body when it has been told to go on, and has not been told.
  var awaitsContinue = false
  var answerStarted = false
  /// The answer goes out in chunks.
  var answerIsChunked = false
  var isUpgrade = false
  /// The upstream was asked for another protocol, or whether it wants the body. Whatever it answered, some read no
  /// request behind the one, and the other's body as a request.
  var endsConnection = false
  var retried = false
  var status = 0
  /// The upstream's agreement to an upgrade.
  var switching: HTTPResponseHead?
  var bytesIn = 0
  var bytesOut = 0
  /// The client expects the connection to close after the answer.
  var closes: Bool
  /// Why the upstream gave no answer, or only a part of one.
  var failure: String?

  init(_ head: HTTPRequestHead, _ framing: RequestFraming) {
    self.head = head
    self.framing = framing
    started = .now()
    closes = !head.isKeepAlive
  }

  /// Nothing of it was used up: it can be sent once more.
  var isRepeatable: Bool { framing == .none && !retried && [.GET, .HEAD, .OPTIONS].contains(head.method) }
}
