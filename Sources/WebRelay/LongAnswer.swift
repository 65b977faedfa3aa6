import NIOCore
import NIOHTTP1
import Transport

// What is long is held, in memory or as open directories, for as long as its reader takes: a site has places for such
// answers.

extension Places {
  /// Of one site.
  static func longAnswers() -> Places { Places(limit: 32, ofOne: 8) }
}

/// A page that holds a place.
private final class HeldPage: SiteContent, @unchecked Sendable {
  // Unchecked: asked for one piece after the other.
  private var rest: ByteBuffer
  private let place: Places.Place
  let length: Int64?

  init(_ body: ByteBuffer, _ place: Places.Place) {
    rest = body
    length = Int64(body.readableBytes)
    self.place = place
  }

  func next(_ count: Int) -> ByteBuffer { rest.readSlice(length: min(count, rest.readableBytes)) ?? ByteBuffer() }
}

extension SiteAnswer {
  /// Bytes of a page that need no place.
  private static let short = 64 * 1024

  /// A page that may be long.
  static func long(_ page: WebPage, _ places: Places, _ request: HTTPRequestHead) -> SiteAnswer {
    guard page.body.readableBytes > short, request.method != .HEAD else { return .page(page) }
    guard let place = places.take(for: request.asker) else { return .page(.tooManyLong(places)) }
    return .content(page.status, page.headers, HeldPage(page.body, place))
  }
}

extension WebPage {
  static func tooManyLong(_ places: Places) -> WebPage {
    .text(
      status: .serviceUnavailable,
      "\(places.limitOfOne) long listings are under way for you, or \(places.limit) for all; try again in a moment, or ask for parts.\n",
      headers: [("retry-after", "1")])
  }
}

extension HTTPRequestHead {
  /// Whoever asks, by the address that the nearest proxy saw: what stands before it anybody may have written. Empty
  /// where no proxy says it.
  var asker: String { (headers["x-forwarded-for"].last ?? "").split(separator: ",").last?.trimmed ?? "" }
}
