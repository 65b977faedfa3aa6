// ShareFrontend: the public entry of shares: which share a request is for, who may pass, and the way there over the
// overlay. It knows no rows and no API of a share service: what it stands on is a `FrontendContext`, the service in its
// process or, in a process of its own, what the network tells. Start reading at `PublicFrontend`.

import Foundation
package import Logging
import Model
import NIOConcurrencyHelpers
package import NIOCore
import NIOHTTP1
package import Swiftlet
package import Transport
import WebRelay

/// The public entry: takes a request for `<name>.<zone>`, asks who may pass, and relays it over the overlay to whoever
/// hosts the share. It knows the shares from the directory in memory and decides on the connection's event loop, but
/// for a password it has not seen before.
package final class PublicFrontend: ConnectionAcceptor {
  /// Name of the cookie that says a visitor has seen the warning page (zrok.md 4.3).
  static let interstitialCookie = "zrok_interstitial"

  private let context: any FrontendContext
  private let logger: Logger
  private let pool = UpstreamPool()
  private let overlay = NIOLockedValueBox<
    (make: @Sendable () async throws -> Overlay, task: Task<Overlay, any Error>?)?
  >(nil)
  private let proofs = PasswordProofs()
  private let quota: FrontendQuota
  private let answerLimit: TimeAmount?
  private let login: FrontendLogin?
  /// Cookies that never reach a share.
  private let ownCookies: [String]

  /// - Throws: when a file that the configured login names cannot be read.
  package init(context: any FrontendContext, logger: Logger) throws {
    self.context = context
    self.logger = logger
    quota = FrontendQuota(context.settings.limits)
    answerLimit = context.settings.limits.answerLimit
    login = try context.settings.login.map { try FrontendLogin($0) }
    ownCookies = [Self.interstitialCookie] + (login?.cookieNames ?? [])
  }

  /// Takes the network to dial on. It is asked at the first request, and again after a failure: the controller may not
  /// serve yet.
  package func use(_ make: @escaping @Sendable () async throws -> Overlay) {
    overlay.withLockedValue { $0 = (make, nil) }
  }

  /// The network, as soon as its controller answers.
  package func network() async throws -> Overlay {
    let task = overlay.withLockedValue { state -> Task<Overlay, any Error>? in
      guard let make = state?.make else { return nil }
      let task = state?.task ?? Task { try await make() }
      state?.task = task
      return task
    }
    guard let task else { throw OverlayError.closed }
    do { return try await task.value } catch {
      overlay.withLockedValue { if $0?.task == task { $0?.task = nil } }
      throw error
    }
  }

  package func close() async {
    let task = overlay.withLockedValue { state in
      defer { state = nil }
      return state?.task
    }
    if let overlay = try? await task?.value { await overlay.close() }
  }

  package func accept(
    _ channel: any Channel, peer: PresentedPeer, alpn: String?, stranger: Stranger
  ) -> EventLoopFuture<ConnectionTask> {
    let remote = peer.remoteHost
    let isTLS = context.settings.isTLS
    let judge: RequestJudge = { self.judge($0, $1) }
    let observer: RequestObserver = { [context] record in
      if let service = record.upstream { context.relayed(service: service, rx: record.bytesIn, tx: record.bytesOut) }
    }
    let configured: EventLoopFuture<Void>
    if alpn == ALPN.http2 {
      configured = HTTPRelay.configureHTTP2(
        channel, remoteAddress: remote, isTLS: isTLS, pool: pool, judge: judge, heard: stranger.heard,
        observer: observer)
    } else {
      configured = channel.eventLoop.makeCompletedFuture {
        try HTTPRelay.configureHTTP1(
          channel, remoteAddress: remote, isTLS: isTLS, pool: pool, judge: judge, heard: stranger.heard,
          observer: observer)
      }
    }
    return configured.map { { try? await channel.closeFuture.get() } }
  }

  // MARK: Judging

  private func judge(_ head: HTTPRequestHead, _ info: RequestInfo) -> EventLoopFuture<RequestVerdict> {
    let loop = info.loop
    let host = Self.host(head)
    // No share stands in front of it.
    if let login, host == login.configuration.origin.host {
      switch admission(host, info) {
      case .success(let lease):
        return login.answer(head, info, context: context).map { page in withExtendedLifetime(lease) { .answer(page) } }
      case .failure(let refusal): return loop.makeSucceededFuture(.answer(refusal.page))
      }
    }
    if let route = context.directory.route(host) { return judge(head, info, host, route) }
    let page = host == context.settings.zone ? Self.zonePage : Self.unknownPage(host)
    guard let looked = context.look(for: host, on: loop) else { return loop.makeSucceededFuture(.answer(page)) }
    return looked.flatMap { $0.map { self.judge(head, info, host, $0) } ?? loop.makeSucceededFuture(.answer(page)) }
  }

  private func judge(_ head: HTTPRequestHead, _ info: RequestInfo, _ host: String, _ route: ShareRoute)
    -> EventLoopFuture<RequestVerdict>
  {
    let loop = info.loop
    let lease: FrontendQuota.Lease
    switch admission(route.serviceID, info) {
    case .success(let admitted): lease = admitted
    case .failure(let refusal): return loop.makeSucceededFuture(.answer(refusal.page))
    }
    // Tickets are nobody's but ours, whatever the share asks of its visitors by now.
    if let login, FrontendLogin.isSharePath(head.uri) {
      return loop.makeSucceededFuture(.answer(login.atSharePath(head, route, host: host, now: context.now)))
    }
    if route.isPaused { return loop.makeSucceededFuture(.answer(Self.pausedPage)) }
    if route.interstitial, Self.wantsInterstitial(head) {
      return loop.makeSucceededFuture(.answer(Self.interstitialPage(host)))
    }
    switch route.gate.scheme {
    case "none": return loop.makeSucceededFuture(relay(head, info, route, lease, visitor: []))
    // Browsers never send credentials with the question whether they may (Fetch, 4.8), so whoever asked for them would
    // have the answer be no.
    case "basic" where Self.isPreflight(head), "oauth" where Self.isPreflight(head):
      return loop.makeSucceededFuture(relay(head, info, route, lease, visitor: []))
    case "basic":
      guard let credentials = Self.credentials(head) else {
        return loop.makeSucceededFuture(.answer(Self.passwordPage(route)))
      }
      return proofs.check(credentials, route, context: context, remote: info.remoteAddress, on: loop).map { outcome in
        switch outcome {
        case .proven:
          self.relay(
            head, info, route, lease,
            visitor: [("zrok-auth-provider", "basic"), ("zrok-auth-user", credentials.username)])
        case .wrong: .answer(Self.passwordPage(route))
        case .tooMany: .answer(Self.tooManyPage)
        }
      }
    case "oauth":
      guard let login else { return loop.makeSucceededFuture(.answer(Self.schemePage)) }
      switch login.judge(head, route, host: host, now: context.now) {
      case .passed(let visitor):
        return loop.makeSucceededFuture(relay(head, info, route, lease, visitor: visitor.headers))
      case .answer(let page): return loop.makeSucceededFuture(.answer(page))
      }
    default: return loop.makeSucceededFuture(.answer(Self.schemePage))
    }
  }

  private struct Refusal: Error { let page: WebPage }

  private func admission(_ share: String, _ info: RequestInfo) -> Result<FrontendQuota.Lease, Refusal> {
    switch quota.admit(share: share, address: info.remoteAddress) {
    case .admitted(let lease): .success(lease)
    case .shareBusy(let seconds): .failure(Refusal(page: Self.busySharePage(seconds)))
    case .addressBusy(let seconds): .failure(Refusal(page: Self.busyVisitorPage(seconds)))
    }
  }

  /// - Parameter visitor: fields that say who it is.
  private func relay(
    _ head: HTTPRequestHead, _ info: RequestInfo, _ route: ShareRoute, _ lease: FrontendQuota.Lease,
    visitor: [(String, String)]
  ) -> RequestVerdict {
    var head = head
    ForwardedHeaders.add(to: &head.headers, info: info)
    // A visitor cannot say who it is.
    for name in Self.identityFields(head.headers) { head.headers.remove(name: name) }
    head.headers.add(contentsOf: visitor)
    RequestCookies.remove(ownCookies, from: &head.headers)
    let token = route.token
    let logger = logger
    let options = Overlay.DialOptions.windowed(route.isWindowed)
    let upstream = Upstream(
      key: route.serviceID,
      connect: { loop, initializer in
        loop.makeFutureWithTask { try await self.network() }.flatMap {
          $0.channel(to: token, options: options, on: loop, initializer: initializer)
        }
      },
      lease: lease, answerLimit: answerLimit,
      failurePage: { [context] failure in
        context.unreachable(token)
        logger.info("a share does not answer", metadata: ["share": "\(token)", "reason": "\(failure)"])
        return Self.failurePage(failure)
      })
    return .relay(upstream: upstream, head: head)
  }

  /// Names under which servers read who a visitor is; many read `_` as `-`.
  static func identityFields(_ headers: HTTPHeaders) -> [String] {
    headers.compactMap { field in
      field.name.utf8.count > 10
        && field.name.utf8.prefix(10).elementsEqual(
          "zrok-auth-".utf8, by: { ($0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 | 0x20) == $1 })
        ? field.name : nil
    }
  }

  /// The host a request is for: without port, lower case.
  static func host(_ head: HTTPRequestHead) -> String {
    (head.headers.first(name: "host").flatMap { HostPort($0, defaultPort: 0)?.host } ?? "").lowercased()
  }

  static func credentials(_ head: HTTPRequestHead) -> BasicCredentials? {
    guard let header = head.headers.first(name: "authorization"), header.lowercased().hasPrefix("basic "),
      header.utf8.count <= 1024,
      let bytes = Data(base64Encoded: header.dropFirst(6).filter { $0 != " " }),
      let text = String(validating: bytes, as: UTF8.self),
      let colon = text.firstIndex(of: ":")
    else { return nil }
    return BasicCredentials(username: String(text[..<colon]), password: String(text[text.index(after: colon)...]))
  }

  /// The question of a browser, ahead of a request from another origin's page, whether the server takes such requests
  /// (Fetch, 4.8).
  static func isPreflight(_ head: HTTPRequestHead) -> Bool {
    head.method == .OPTIONS && head.headers.contains(name: "origin")
      && head.headers.contains(name: "access-control-request-method")
      && !["content-length", "transfer-encoding", "upgrade"].contains { head.headers.contains(name: $0) }
  }

  /// A person who goes somewhere with a browser, and nothing else that a browser or a program asks for: a page shown in
  /// the place of data breaks what asked for it.
  static func wantsInterstitial(_ head: HTTPRequestHead) -> Bool {
    let headers = head.headers
    guard head.method == .GET || head.method == .HEAD, !headers.contains(name: "skip_zrok_interstitial"),
      !headers.contains(name: "upgrade"),
      headers.first(name: "user-agent")?.hasPrefix("Mozilla/5.0") ?? false
    else { return false }
    // Browsers say what they go for, to hosts that they take for safe (Fetch Metadata); to the others they only say
    // what they would like to have.
    for (name, wanted) in [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")] {
      guard headers.first(name: name).map({ $0.lowercased() == wanted }) ?? true else { return false }
    }
    guard headers[canonicalForm: "accept"].contains(where: isPage) else { return false }
    return RequestCookies.value(interstitialCookie, headers) == nil
  }

  /// Whether a range of `Accept` names pages of HTML. One of anything is what scripts and images send too.
  private static func isPage(_ range: Substring) -> Bool {
    let type = range.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
    return (type == "text/html" || type == "application/xhtml+xml")
      && !range.filter { $0 != " " }.lowercased().hasSuffix(";q=0")
  }
}
