import NIOHTTP1
import SwiftletShare
import WebRelay

/// What visitors read when there is nothing to relay: each page says what happened and what to do next.
extension PublicFrontend {
  static func unknownPage(_ host: String) -> WebPage {
    .html(
      status: .notFound, title: "There is no share here", message: "Nobody shares anything at \(host.prefix(255)).",
      hint:
        "Check the address for a typo. If somebody gave it to you, the share may have ended: ask them to share it again."
    )
  }

  static let zonePage = WebPage.html(
    status: .ok, title: "Shares live here", message: "This is the public entry of a share service. It is up.",
    hint: "A share has an address of its own, with a name in front of this one.")

  static let pausedPage = WebPage.html(
    status: .serviceUnavailable, title: "This share is paused",
    message: "The account that shares this has used up its bandwidth for now.",
    hint: "Come back later. The person who shares it sees the limit in the share service's overview.",
    headers: [("retry-after", "600")])

  static let schemePage = WebPage.html(
    status: .unauthorized, title: "Not allowed",
    message: "This share asks for a way to sign in that its server does not have.",
    hint: "Ask the person who shares it to use another one.")

  static let tooManyPage = WebPage.html(
    status: .tooManyRequests, title: "Too many attempts", message: "Too many wrong passwords came from your address.",
    hint: "Wait a minute, then try again.", headers: [("retry-after", "60")])

  static func busySharePage(_ seconds: Int) -> WebPage {
    .html(
      status: .tooManyRequests, title: "This share is busy",
      message: "Its visitors ask for more than this service lets one share have.",
      hint: "Try again in \(seconds == 1 ? "a moment" : "\(seconds) seconds").",
      headers: [("retry-after", "\(seconds)")])
  }

  static func busyVisitorPage(_ seconds: Int) -> WebPage {
    .html(
      status: .tooManyRequests, title: "Too many requests",
      message: "More requests came from your address than this service answers.",
      hint: "Try again in \(seconds) seconds.", headers: [("retry-after", "\(seconds)")])
  }

  static func passwordPage(_ route: ShareRoute) -> WebPage {
    .html(
      status: .unauthorized, title: "Not allowed", message: "This share is protected by a user name and a password.",
      hint: "Reload the page and enter them. The person who shares it knows them.",
      headers: [("www-authenticate", "Basic realm=\"\(route.token)\", charset=\"UTF-8\"")])
  }

  static func interstitialPage(_ host: String) -> WebPage {
    // The button sets the cookie by a script of this page; its hash is in the page's policy.
    .html(
      status: .ok, title: "Before you go on",
      message: "\(host.prefix(255)) is shown by somebody who shares something from their own machine, not by the "
        + "operator of this service. Enter no password here that you use elsewhere.",
      hint: "If you expected this page, go on.",
      continueCookie: interstitialCookie + "=1; Path=/; Max-Age=604800; SameSite=Lax")
  }

  /// Tells apart what a visitor can do something about.
  static func failurePage(_ failure: UpstreamFailure) -> WebPage {
    guard let notice = DialFailureNotice(failure.cause) else { return failure.page(behind: "share") }
    return .html(
      status: HTTPResponseStatus(statusCode: notice.status), title: notice.title, message: notice.message,
      hint: notice.hint)
  }
}
