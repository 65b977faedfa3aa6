import NIOHTTP1
import WebRelay

/// What visitors read on their way through a sign-in.
extension FrontendLogin {
  static let signInFirstPage = WebPage.html(
    status: .unauthorized, title: "Sign in first",
    message: "Visitors of this share sign in before they send something.",
    hint:
      "Open the share's address in a browser and sign in. For programs, the person who shares it can use a password instead."
  )

  static func notInvitedPage(_ email: String) -> WebPage {
    .html(
      status: .unauthorized, title: "Not allowed",
      message: "You are signed in as \(email), and this share is not for that address.",
      hint: "Ask the person who shares it to add you, or sign in with another account.",
      link: ("Use another account", sharePath + "?another"))
  }

  static let signedOutPage = WebPage.html(
    status: .ok, title: "Signed out", message: "You are signed out of this share.",
    hint: "The provider you signed in with may still know you.", link: ("Sign in again", "/"))

  static let badTicketPage = WebPage.html(
    status: .forbidden, title: "Not signed in",
    message: "This sign-in belongs to another browser, was used already, or took too long.",
    hint: "Sign in again. Your browser must allow cookies for this address.", link: ("Sign in", "/"))

  static let methodPage = WebPage.html(
    status: .methodNotAllowed, title: "Not here", message: "This address is only for browsers that sign in.",
    hint: "Go back to the share's own address.",
    headers: [("allow", "GET")])

  static let loginPage = WebPage.html(
    status: .ok, title: "Signing in to shares", message: "Visitors of shares sign in here when a share asks for it.",
    hint: "Open the address of a share; it brings you here if you need to be.")

  static let nowherePage = WebPage.html(
    status: .notFound, title: "There is nothing here",
    message: "This is where visitors of shares sign in, but not at this address.",
    hint: "Open the share's own address again.")

  static let logoutPage = WebPage.html(
    status: .ok, title: "Signing out", message: "Each share keeps its own session.",
    hint: "To sign out of one, open its address with \(sharePath)?logout at the end.")

  static let strangePage = WebPage.html(
    status: .forbidden, title: "Not signed in",
    message: "This browser did not begin this sign-in, or it does not allow cookies.",
    hint: "Open the share's own address again and sign in there.")

  static func latePage(_ home: String) -> WebPage {
    .html(
      status: .forbidden, title: "That took too long", message: "The sign-in was not finished in time.",
      hint: "Begin again.",
      link: ("Back to the share", home))
  }

  /// - Parameter reason: the provider's code, shown when it is one.
  static func declinedPage(_ reason: String, _ home: String) -> WebPage {
    let isCode =
      (1...40).contains(reason.utf8.count)
      && reason.utf8.allSatisfy { $0 == UInt8(ascii: "_") || (97...122).contains($0) }
    return .html(
      status: .forbidden, title: "Not signed in",
      message: "The provider did not sign you in" + (isCode ? " (\(reason))." : "."),
      hint: "Go back to the share to try again.", link: ("Back to the share", home))
  }

  static func refusedPage(_ home: String) -> WebPage {
    .html(
      status: .forbidden, title: "Not signed in", message: "The provider did not confirm this sign-in.",
      hint: "Go back to the share to try again.",
      link: ("Back to the share", home))
  }

  static func noEmailPage(_ home: String) -> WebPage {
    .html(
      status: .forbidden, title: "No e-mail address",
      message: "The provider tells no confirmed e-mail address of yours, and shares go by that.",
      hint: "Confirm your address at the provider, then try again.", link: ("Back to the share", home))
  }

  static let providerPage = WebPage.html(
    status: .badGateway, title: "The sign-in provider does not answer",
    message: "Nobody can sign in to this share at the moment.",
    hint: "Try again in a minute. The operator of this service finds the reason in its log.",
    headers: [("retry-after", "30")])

  static let busyPage = WebPage.html(
    status: .serviceUnavailable, title: "Many people are signing in",
    message: "The provider is being asked about others at the moment.",
    hint: "Reload this page in a few seconds.", headers: [("retry-after", "5")])
}
