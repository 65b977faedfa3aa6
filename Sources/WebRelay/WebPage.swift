public import NIOCore
public import NIOHTTP1

/// An answer that needs no upstream.
public struct WebPage: Sendable {
  public var status: HTTPResponseStatus
  public var headers: HTTPHeaders
  public var body: ByteBuffer

  public init(status: HTTPResponseStatus, headers: HTTPHeaders = [:], body: ByteBuffer = ByteBuffer()) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  public static func text(status: HTTPResponseStatus, _ text: String, headers: [(String, String)] = []) -> WebPage {
    WebPage(
      status: status,
      headers: HTTPHeaders([("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")] + headers),
      body: ByteBuffer(string: text))
  }

  public static func redirect(to location: String, status: HTTPResponseStatus = .found) -> WebPage {
    WebPage(status: status, headers: ["location": location, "cache-control": "no-store"])
  }

  /// A small page for people, of one document, readable at phone size.
  ///
  /// - Parameters:
  ///   - hint: what to do next.
  ///   - continueCookie: with it the page gets a button that sets this cookie and loads the page again.
  ///   - link: the way to go on, and what it is called.
  public static func html(
    status: HTTPResponseStatus, title: String, message: String, hint: String, headers: [(String, String)] = [],
    continueCookie: String? = nil,
    link: (text: String, url: String)? = nil
  ) -> WebPage {
    let way = link.map { "<p><a href=\"\(escaped($0.url))\">\(escaped($0.text))</a>" } ?? ""
    let script = continueCookie.map {
      "document.querySelector('button').onclick=()=>{document.cookie=\"\($0)\";location.reload()}"
    }
    let button = script.map { "<p><button>Go on</button><script>\($0)</script>" } ?? ""
    let html = """
      <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(escaped(title))</title>
      <style>\(style)</style>
      <h1>\(escaped(title))</h1><p>\(escaped(message))<p class="hint">\(escaped(hint))\(button)\(way)

      """
    let policy = script.map { PagePolicy.text(styles: [style], scripts: [$0]) } ?? plainPolicy
    return WebPage(
      status: status,
      headers: HTTPHeaders(
        [
          ("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store"),
          ("content-security-policy", policy),
          ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"),
        ] + headers), body: ByteBuffer(string: html))
  }

  /// The answer to what is no request, or none that can be taken.
  static func refused(_ fault: MessageFault?) -> WebPage {
    let status: HTTPResponseStatus =
      switch fault {
      case .headTooLarge: .requestHeaderFieldsTooLarge
      case .startLineTooLong: .uriTooLong
      default: .badRequest
      }
    return .html(
      status: status, title: "This request was refused",
      message: "It cannot be understood: "
        + (fault.map { "\($0)" } ?? "its host, target or length is missing, doubled or malformed") + ".",
      hint: "If a browser sent it, a program between it and here changed it.")
  }

  private static let style =
    ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1.2rem}h1{font-size:1.5rem}"
    + "p{overflow-wrap:anywhere}.hint{opacity:.75}button,p>a{font:inherit;padding:.5rem 1.2rem;border-radius:8px;border:1px solid;background:none;"
    + "color:inherit;text-decoration:none;display:inline-block}"
  private static let plainPolicy = PagePolicy.text(styles: [style])

  /// Text as it may stand in HTML and XML, between tags and in quoted attributes.
  public static func escaped(_ text: some StringProtocol) -> String {
    // By scalars: what combines with one of these in one character must not hide it.
    var result = String.UnicodeScalarView()
    func append(_ text: String) { result.append(contentsOf: text.unicodeScalars) }
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": append("&amp;")
      case "<": append("&lt;")
      case ">": append("&gt;")
      case "\"": append("&quot;")
      case "'": append("&#39;")
      default: result.append(scalar)
      }
    }
    return String(result)
  }
}
