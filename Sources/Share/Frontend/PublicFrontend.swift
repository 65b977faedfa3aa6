import Authentication
import Controller
import Crypto
import Foundation
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Swiftlet
import Synchronization
import Transport
import WebRelay

/// The public entry: takes a request for `<name>.<zone>`, asks who may pass, and relays it over the overlay to whoever hosts the share. It knows the shares from
/// the directory in memory and decides on the connection's event loop, but for a password it has not seen before.
final class PublicFrontend: ConnectionAcceptor {
  /// Lifetime of the cookie that says a visitor has seen the warning page (zrok.md 4.3).
  static let interstitialCookie = "zrok_interstitial"

  private let desk: ShareDesk
  private let logger: Logger
  private let pool = UpstreamPool()
  private let overlay = NIOLockedValueBox<Task<Overlay, any Error>?>(nil)
  private let proofs = PasswordProofs()

  init(desk: ShareDesk, logger: Logger) {
    self.desk = desk
    self.logger = logger
  }

  /// Takes the identity to dial with. The controller is asked at the first request: it may not serve yet.
  func use(_ identity: IdentityFile) async {
    let logger = logger
    let task = Task { try await Overlay(identity: identity, options: .init(logger: logger)) }
    overlay.withLockedValue { $0 = task }
    await desk.ports.use(task)
  }

  func close() async {
    await desk.ports.close()
    let task = overlay.withLockedValue { $0 }
    if let overlay = try? await task?.value { await overlay.close() }
  }

  func accept(_ channel: any Channel, peer: PresentedPeer, alpn: String?) -> EventLoopFuture<ConnectionTask> {
    let remote = peer.remoteAddress.lastIndex(of: ":").map { String(peer.remoteAddress[..<$0]) } ?? peer.remoteAddress
    let isTLS = desk.configuration.frontend.identity != nil
    let judge: RequestJudge = { self.judge($0, $1) }
    let observer: RequestObserver = { [desk] record in
      guard !desk.network.tellsTraffic, let service = record.upstream else { return }
      desk.traffic.add(service: service, rx: record.bytesIn, tx: record.bytesOut, now: desk.network.now)
    }
    let configured: EventLoopFuture<Void>
    if alpn == ALPN.http2 {
      configured = HTTPRelay.configureHTTP2(
        channel, remoteAddress: remote, isTLS: isTLS, pool: pool, judge: judge, observer: observer)
    } else {
      configured = channel.eventLoop.makeCompletedFuture {
        try HTTPRelay.configureHTTP1(channel, remoteAddress: remote, isTLS: isTLS, pool: pool, judge: judge, observer: observer)
      }
    }
    return configured.map { { try? await channel.closeFuture.get() } }
  }

  // MARK: Judging

  private func judge(_ head: HTTPRequestHead, _ info: RequestInfo) -> EventLoopFuture<RequestVerdict> {
    let loop = info.loop
    let host = Self.host(head)
    guard let route = desk.directory.route(host) else {
      let page = host == desk.configuration.zone ? Self.zonePage : Self.unknownPage(host)
      return loop.makeSucceededFuture(.answer(page))
    }
    if route.isPaused { return loop.makeSucceededFuture(.answer(Self.pausedPage)) }
    if route.interstitial, Self.wantsInterstitial(head) { return loop.makeSucceededFuture(.answer(Self.interstitialPage(host))) }
    switch route.gate.scheme {
    case "none": return loop.makeSucceededFuture(relay(head, info, route, user: nil))
    case "basic":
      guard let credentials = Self.credentials(head) else { return loop.makeSucceededFuture(.answer(Self.passwordPage(route))) }
      return proofs.check(credentials, route, desk: desk, remote: info.remoteAddress, on: loop).map { outcome in
        switch outcome {
        case .proven: self.relay(head, info, route, user: credentials.username)
        case .wrong: .answer(Self.passwordPage(route))
        case .tooMany: .answer(Self.tooManyPage)
        }
      }
    default: return loop.makeSucceededFuture(.answer(Self.schemePage))
    }
  }

  private func relay(_ head: HTTPRequestHead, _ info: RequestInfo, _ route: ShareRoute, user: String?) -> RequestVerdict {
    var head = head
    ForwardedHeaders.add(to: &head.headers, info: info)
    // A visitor cannot say who it is.
    for name in ["zrok-auth-provider", "zrok-auth-user", "zrok-auth-email", "zrok-auth-expires"] { head.headers.remove(name: name) }
    if let user {
      head.headers.add(name: "zrok-auth-provider", value: "basic")
      head.headers.add(name: "zrok-auth-user", value: user)
    }
    Self.removeCookie(Self.interstitialCookie, from: &head.headers)
    let token = route.token
    let logger = logger
    let upstream = Upstream(
      key: route.serviceID,
      connect: { [overlay] loop, initializer in
        guard let overlay = overlay.withLockedValue({ $0 }) else { return loop.makeFailedFuture(OverlayError.closed) }
        return loop.makeFutureWithTask { try await overlay.value }.flatMap { $0.channel(to: token, on: loop, initializer: initializer) }
      },
      failurePage: { error in
        logger.info("a share does not answer", metadata: ["share": "\(token)", "reason": "\(error)"])
        return Self.failurePage(error)
      })
    return .relay(upstream: upstream, head: head)
  }

  /// The host a request is for: without port, lower case.
  static func host(_ head: HTTPRequestHead) -> String {
    let text = head.headers.first(name: "host") ?? ""
    return (text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? "").lowercased()
  }

  static func credentials(_ head: HTTPRequestHead) -> BasicCredentials? {
    guard let header = head.headers.first(name: "authorization"), header.lowercased().hasPrefix("basic "), header.utf8.count <= 1024,
      let bytes = Data(base64Encoded: header.dropFirst(6).filter { $0 != " " }), let text = String(validating: bytes, as: UTF8.self),
      let colon = text.firstIndex(of: ":")
    else { return nil }
    return BasicCredentials(username: String(text[..<colon]), password: String(text[text.index(after: colon)...]))
  }

  private static func wantsInterstitial(_ head: HTTPRequestHead) -> Bool {
    guard head.method != .OPTIONS, head.headers.first(name: "skip_zrok_interstitial") == nil,
      head.headers.first(name: "user-agent")?.hasPrefix("Mozilla/5.0") ?? false
    else { return false }
    return !cookies(head.headers).contains { $0.hasPrefix(interstitialCookie + "=") }
  }

  private static func cookies(_ headers: HTTPHeaders) -> [String] {
    headers[canonicalForm: "cookie"].flatMap { $0.split(separator: ";").prefix(256).map { $0.drop { $0 == " " }.description } }
  }

  /// What is ours is not the share's.
  private static func removeCookie(_ name: String, from headers: inout HTTPHeaders) {
    guard headers.contains(name: "cookie") else { return }
    let kept = headers["cookie"].flatMap { line in line.split(separator: ";").map { $0.drop { $0 == " " } } }.filter { !$0.hasPrefix(name + "=") }
    headers.remove(name: "cookie")
    if !kept.isEmpty { headers.add(name: "cookie", value: kept.joined(separator: "; ")) }
  }
}
