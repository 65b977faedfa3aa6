import Authentication
import Crypto
import Foundation
import Logging
import Model
import NIOCore
import NIOHTTP1
import PKI
import Synchronization
import Transport
import WebRelay

/// Signing in to public shares with an account of a provider (zrok.md 4.5).
///
/// A browser goes from the share's host to the login's host, from there to the provider, back to the login's host, and
/// back to the share's host, which gives it a session of its own:
///
/// | Step | carries | is tied to the browser by |
/// | share → `/NAME/login` | the share's host and path, the digest of a start secret | the cookie with the start secret, of the share's host |
/// | login → provider | a sealed state | the cookie with a binding secret, of the login's host |
/// | provider → `/NAME/auth/callback` | code and state | the same |
/// | callback → share `/.zrok-login` | a sealed ticket, good once and for a minute | the start secret |
///
/// So neither a link made by somebody else nor a ticket seen by somebody else signs anyone in; sessions belong to one
/// host and are of no use at another share. Nothing is stored but the tickets that were used within the last minute.
final class FrontendLogin: Sendable {
  /// On a share's host: redeems tickets, ends sessions.
  static let sharePath = "/.zrok-login"

  private struct State: Codable {
    var provider: String
    var host: String
    var service: String
    var path: String
    /// Digest of the share host's start secret.
    var start: String
    /// Digest of the login host's binding secret.
    var binding: String
    var attempt: LoginProvider.Attempt
    var expires: Int64
  }

  private struct Ticket: Codable {
    var id: String
    var provider: String
    var email: String
    var host: String
    /// Id of the share's service: another share under the same name is another place.
    var service: String
    var path: String
    var start: String
    var expires: Int64
  }

  private struct Session: Codable {
    var provider: String
    var email: String
    var host: String
    var service: String
    /// Milliseconds since 1970, like `expires`.
    var issued: Int64
    var expires: Int64
  }

  /// Who visits a share.
  struct Visitor: Sendable {
    let provider: String
    let email: String
    let expires: Timestamp

    /// What the share is told.
    var headers: [(String, String)] {
      [("zrok-auth-provider", provider), ("zrok-auth-email", email), ("zrok-auth-expires", expires.text)]
    }
  }

  enum Judgement: Sendable {
    case passed(Visitor)
    case answer(WebPage)
  }

  private static let ticketLifetime: Int64 = 60_000
  private static let ticketsKept = 65_536
  /// Bytes of a share's path that a sign-in comes back to.
  private static let pathLimit = 1024
  /// Sign-ins for which one provider is being asked at the same time.
  private static let exchangeLimit = 64
  let configuration: LoginConfiguration
  private let providers: [String: LoginProvider]
  private let seal: LoginSeal
  private let redeemed = Mutex<[String: Int64]>([:])
  private let exchanges = Mutex<[String: Int]>([:])
  private let startCookie: String
  private let bindingCookie: String
  private let sessionCookie: String

  /// - Throws: when a provider's roots cannot be read.
  init(_ configuration: LoginConfiguration) throws {
    self.configuration = configuration
    providers = try Dictionary(uniqueKeysWithValues: configuration.providers.map { ($0.name, try LoginProvider($0)) })
    seal =
      configuration.secret.isEmpty
      ? LoginSeal(secret: Data(LoginSeal.secret().utf8)) : LoginSeal(secret: Data(configuration.secret.utf8))
    // The prefix keeps other hosts of the zone, which are other people's shares, from setting them; browsers know it
    // under TLS only.
    let prefix = configuration.origin.isTLS ? "__Host-" : ""
    startCookie = prefix + "zrok-login-start"
    bindingCookie = prefix + "zrok-login"
    sessionCookie = prefix + configuration.cookieName
  }

  /// Cookies that are ours and never reach a share.
  var cookieNames: [String] { [startCookie, bindingCookie, sessionCookie] }

  // MARK: At the share's host

  /// Judges a request for a share that wants its visitors to sign in.
  /// - Parameter host: of the share, as the directory knows it.
  func judge(_ head: HTTPRequestHead, _ route: ShareRoute, host: String, now: Timestamp) -> Judgement {
    guard let session = session(head, route, host, now) else {
      guard head.method == .GET || head.method == .HEAD else { return .answer(Self.signInFirstPage) }
      return .answer(toLogin(head, route, host, path: head.uri, prompt: nil))
    }
    guard route.admits(email: session.email) else { return .answer(Self.notInvitedPage(session.email)) }
    return .passed(Visitor(provider: session.provider, email: session.email, expires: end(session, route)))
  }

  private func session(_ head: HTTPRequestHead, _ route: ShareRoute, _ host: String, _ now: Timestamp) -> Session? {
    guard let cookie = RequestCookies.value(sessionCookie, head.headers),
      let session = seal.open(cookie, as: Session.self, for: .session),
      session.provider == route.gate.provider, session.host == host, session.service == route.serviceID,
      end(session, route) > now
    else { return nil }
    return session
  }

  /// The share's own interval counts, never one that a link says.
  private func end(_ session: Session, _ route: ShareRoute) -> Timestamp {
    Timestamp(
      millisecondsSinceEpoch: min(session.expires, session.issued + route.loginInterval.nanoseconds / 1_000_000))
  }

  private func toLogin(_ head: HTTPRequestHead, _ route: ShareRoute, _ host: String, path: String, prompt: String?)
    -> WebPage
  {
    // Kept, so that two tabs can sign in at the same time.
    let start =
      RequestCookies.value(startCookie, head.headers).flatMap { LoginSeal.isToken($0) ? String($0) : nil }
      ?? LoginSeal.secret()
    var query =
      "targetHost=\((host + Self.safe(path)).pathSegment)&refreshInterval=\(route.gate.refreshInterval.pathSegment)"
    query += "&start=\(LoginSeal.digest(start))"
    if let prompt { query += "&prompt=\(prompt)" }
    var page = Self.redirect(configuration.origin.url(nil, "/\(route.gate.provider)/login?\(query)"))
    page.headers.add(name: "set-cookie", value: cookie(startCookie, start, configuration.intermediateLifetime))
    return page
  }

  static func isSharePath(_ uri: String) -> Bool {
    uri.utf8.prefix { $0 != UInt8(ascii: "?") }.elementsEqual(sharePath.utf8)
  }

  /// Answers for the one path of a share's host that is the login's.
  func atSharePath(_ head: HTTPRequestHead, _ route: ShareRoute, host: String, now: Timestamp) -> WebPage {
    guard head.method == .GET else { return Self.methodPage }
    // What is left is a visitor of a share that asks for no sign-in any more.
    guard route.gate.scheme == "oauth" else { return Self.redirect(configuration.origin.url(host, "/")) }
    let target = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let query = target.count == 2 ? target[1] : ""
    switch query {
    case "another": return toLogin(head, route, host, path: "/", prompt: "select_account")
    case "logout":
      var page = Self.signedOutPage
      page.headers.add(name: "set-cookie", value: cookie(sessionCookie, "", .zero))
      return page
    default: break
    }
    guard let text = Self.fields(query)["ticket"], let ticket = seal.open(text, as: Ticket.self, for: .ticket),
      ticket.host == host,
      ticket.service == route.serviceID, ticket.provider == route.gate.provider
    else { return Self.badTicketPage }
    let place = configuration.origin.url(host, ticket.path)
    guard LoginSeal.matches(RequestCookies.value(startCookie, head.headers), digest: ticket.start) else {
      return Self.badTicketPage
    }
    guard ticket.expires > now.millisecondsSinceEpoch, redeem(ticket, now) else {
      // The page was loaded again.
      return session(head, route, host, now) == nil ? Self.badTicketPage : Self.redirect(place)
    }
    let lifetime = configuration.sessionLifetime
    let session = Session(
      provider: ticket.provider, email: ticket.email, host: host, service: route.serviceID,
      issued: now.millisecondsSinceEpoch,
      expires: now.adding(milliseconds: lifetime.nanoseconds / 1_000_000).millisecondsSinceEpoch)
    guard let sealed = try? seal.seal(session, for: .session) else { return Self.badTicketPage }
    var page = Self.redirect(place)
    page.headers.add(name: "set-cookie", value: cookie(sessionCookie, sealed, lifetime))
    return page
  }

  private func redeem(_ ticket: Ticket, _ now: Timestamp) -> Bool {
    redeemed.withLock { redeemed in
      if redeemed.count >= Self.ticketsKept { redeemed = redeemed.filter { $0.value > now.millisecondsSinceEpoch } }
      guard redeemed.count < Self.ticketsKept, redeemed[ticket.id] == nil else { return false }
      redeemed[ticket.id] = ticket.expires
      return true
    }
  }

  // MARK: At the login's host

  /// Answers a request for the login's host.
  func answer(_ head: HTTPRequestHead, _ info: RequestInfo, context: any FrontendContext) -> EventLoopFuture<WebPage> {
    let loop = info.loop
    guard head.method == .GET else { return loop.makeSucceededFuture(Self.methodPage) }
    let target = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let segments = target[0].split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    let fields = Self.fields(target.count == 2 ? target[1] : "")
    if segments == [""] { return loop.makeSucceededFuture(Self.loginPage) }
    guard let name = segments.first, let provider = providers[String(name)] else {
      return loop.makeSucceededFuture(Self.nowherePage)
    }
    switch segments.dropFirst().joined(separator: "/") {
    case "login": return start(head, loop, provider, fields, context)
    case "auth/callback": return finish(head, info, provider, fields, context)
    case "logout":
      // Sessions are of the shares' hosts.
      guard let host = place(fields["redirect_url"].map(Self.withoutScheme), provider.settings.name, context)?.host
      else {
        return loop.makeSucceededFuture(Self.logoutPage)
      }
      return loop.makeSucceededFuture(Self.redirect(configuration.origin.url(host, Self.sharePath + "?logout")))
    default: return loop.makeSucceededFuture(Self.nowherePage)
    }
  }

  /// A share's host and path as a link names them; only hosts of shares with this provider are places.
  private func place(_ text: String?, _ provider: String, _ context: any FrontendContext) -> (
    host: String, service: String, path: String
  )? {
    guard let text, text.utf8.count <= 512 + Self.pathLimit else { return nil }
    let slash = text.firstIndex(of: "/") ?? text.endIndex
    var host = text[..<slash].lowercased()
    let port = configuration.origin.port
    if !port.isEmpty, host.hasSuffix(port) { host.removeLast(port.count) }
    guard let route = context.directory.route(host), route.gate.scheme == "oauth", route.gate.provider == provider
    else { return nil }
    return (host, route.serviceID, Self.safe(String(text[slash...])))
  }

  private func start(
    _ head: HTTPRequestHead, _ loop: any EventLoop, _ provider: LoginProvider, _ fields: [String: String],
    _ context: any FrontendContext
  ) -> EventLoopFuture<WebPage> {
    guard let place = place(fields["targetHost"], provider.settings.name, context) else {
      return loop.makeSucceededFuture(
        PublicFrontend.unknownPage(fields["targetHost"].map { String($0.prefix { $0 != "/" }) } ?? "this address"))
    }
    guard let start = fields["start"], LoginSeal.isToken(start) else {
      // A link of somebody's: it starts at the share like every visit.
      return loop.makeSucceededFuture(Self.redirect(configuration.origin.url(place.host, place.path)))
    }
    let binding =
      RequestCookies.value(bindingCookie, head.headers).flatMap { LoginSeal.isToken($0) ? String($0) : nil }
      ?? LoginSeal.secret()
    let lifetime = configuration.intermediateLifetime
    let attempt = LoginProvider.Attempt()
    let state = State(
      provider: provider.settings.name, host: place.host, service: place.service, path: place.path, start: start,
      binding: LoginSeal.digest(binding),
      attempt: attempt,
      expires: context.now.adding(milliseconds: lifetime.nanoseconds / 1_000_000).millisecondsSinceEpoch)
    let prompt = fields["prompt"] == "select_account" ? "select_account" : nil
    let redirect = configuration.origin.url(nil, provider.settings.callbackPath)
    let (seal, cookie) = (seal, cookie(bindingCookie, binding, lifetime))
    return loop.makeFutureWithTask {
      do {
        var page = Self.redirect(
          try await provider.authorization(
            attempt, state: seal.seal(state, for: .state), redirect: redirect, prompt: prompt))
        page.headers.add(name: "set-cookie", value: cookie)
        return page
      } catch {
        context.logger.error(
          "nobody can sign in to shares", metadata: ["provider": "\(provider.settings.name)", "error": "\(error)"])
        return Self.providerPage
      }
    }
  }

  private func finish(
    _ head: HTTPRequestHead, _ info: RequestInfo, _ provider: LoginProvider, _ fields: [String: String],
    _ context: any FrontendContext
  ) -> EventLoopFuture<WebPage> {
    let (loop, now) = (info.loop, context.now)
    guard let text = fields["state"], let state = seal.open(text, as: State.self, for: .state),
      state.provider == provider.settings.name,
      LoginSeal.matches(RequestCookies.value(bindingCookie, head.headers), digest: state.binding)
    else { return loop.makeSucceededFuture(Self.strangePage) }
    let home = configuration.origin.url(state.host, state.path)
    guard state.expires > now.millisecondsSinceEpoch else { return loop.makeSucceededFuture(Self.latePage(home)) }
    guard let code = fields["code"], (1...2048).contains(code.utf8.count) else {
      return loop.makeSucceededFuture(Self.declinedPage(fields["error"] ?? "", home))
    }
    guard context.attempts.wait(from: info.remoteAddress, now: now.millisecondsSinceEpoch) == nil else {
      return loop.makeSucceededFuture(PublicFrontend.tooManyPage)
    }
    guard beginExchange(state.provider) else { return loop.makeSucceededFuture(Self.busyPage) }
    let redirect = configuration.origin.url(nil, provider.settings.callbackPath)
    let origin = configuration.origin
    let moment = Date(timeIntervalSince1970: Double(now.millisecondsSinceEpoch) / 1000)
    return loop.makeFutureWithTask {
      defer { self.exchanges.withLock { $0[state.provider, default: 1] -= 1 } }
      do {
        let email = try await provider.email(
          code: code, state.attempt, redirect: redirect, issuer: fields["iss"], now: moment)
        let ticket = Ticket(
          id: LoginSeal.secret(), provider: state.provider, email: email, host: state.host, service: state.service,
          path: state.path,
          start: state.start,
          expires: context.now.adding(milliseconds: Self.ticketLifetime).millisecondsSinceEpoch)
        return Self.redirect(
          origin.url(state.host, Self.sharePath + "?ticket=" + (try self.seal.seal(ticket, for: .ticket))))
      } catch {
        // Only a code that is none is an attempt at something.
        if case LoginError.refused = error {
          _ = context.attempts.failed(from: info.remoteAddress, now: context.now.millisecondsSinceEpoch)
        }
        context.logger.warning(
          "a visitor could not sign in", metadata: ["provider": "\(state.provider)", "error": "\(error)"])
        return switch error {
        case LoginError.noEmail: Self.noEmailPage(home)
        case LoginError.refused: Self.refusedPage(home)
        default: Self.providerPage
        }
      }
    }
  }

  private func beginExchange(_ provider: String) -> Bool {
    exchanges.withLock { exchanges in
      guard exchanges[provider] ?? 0 < Self.exchangeLimit else { return false }
      exchanges[provider, default: 0] += 1
      return true
    }
  }

  // MARK: Parts

  private func cookie(_ name: String, _ value: String, _ lifetime: TimeAmount) -> String {
    "\(name)=\(value); Path=/; Max-Age=\(lifetime.nanoseconds / 1_000_000_000); HttpOnly; SameSite=Lax"
      + (configuration.origin.isTLS ? "; Secure" : "")
  }

  /// A path of the share that a browser can be sent to without leaving its host; `/` for every other text.
  static func safe(_ path: String) -> String {
    guard path.hasPrefix("/"), path.utf8.count <= pathLimit,
      path.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }),
      !path.hasPrefix("//"), !path.hasPrefix(sharePath)
    else { return "/" }
    return path
  }

  private static func withoutScheme(_ url: String) -> String {
    for scheme in ["https://", "http://"] where url.hasPrefix(scheme) { return String(url.dropFirst(scheme.count)) }
    return url
  }

  /// The first value of each name; what is not decodable is left out.
  private static func fields(_ query: Substring) -> [String: String] {
    var fields: [String: String] = [:]
    for pair in query.split(separator: "&").prefix(32) {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, fields[String(parts[0])] == nil,
        let bytes = PercentText.decoded(Array(parts[1].utf8)[...]),
        let value = String(validating: bytes, as: UTF8.self)
      else { continue }
      fields[String(parts[0])] = value
    }
    return fields
  }

  private static func redirect(_ url: String) -> WebPage {
    var page = WebPage.redirect(to: url)
    page.headers.add(name: "referrer-policy", value: "no-referrer")
    return page
  }
}
