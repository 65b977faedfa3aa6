import Authentication
import Logging
import Model
import NIOCore

/// What a public frontend stands on: the desk of the share service in its process, or, in a process of its own, what
/// the overlay tells it.
protocol FrontendContext: AnyObject, Sendable {
  var settings: FrontendSettings { get }
  var directory: ShareDirectory { get }
  var passwords: PasswordHasher { get }
  var logger: Logger { get }
  var now: Timestamp { get }

  /// Passwords and sign-ins that visitors try.
  var attempts: SharedAttempts { get }
  /// A request was carried; bytes of its body and of the answer's.
  func relayed(service: String, rx: Int, tx: Int)
  /// A share that the directory knows cannot be dialled: what the directory says of it may be old.
  func unreachable(_ token: String)
  /// Asks for a host that the directory does not know; nil when there is nobody to ask.
  func look(for host: String, on loop: any EventLoop) -> EventLoopFuture<ShareRoute?>?
}

/// How a public frontend answers.
struct FrontendSettings: Sendable {
  var zone: String
  var isTLS: Bool
  var limits: FrontendLimits
  var login: LoginConfiguration?
}

extension ShareDesk: FrontendContext {
  var settings: FrontendSettings {
    FrontendSettings(
      zone: configuration.zone, isTLS: configuration.frontend.identity != nil, limits: configuration.limits.frontend,
      login: configuration.login)
  }

  var now: Timestamp { network.now }

  func relayed(service: String, rx: Int, tx: Int) {
    // Routers of this process count everything themselves.
    guard !network.tellsTraffic else { return }
    traffic.add(service: service, rx: rx, tx: tx, now: now)
  }

  /// The directory is filled from the store, as soon as that changes.
  func unreachable(_ token: String) {}

  func look(for host: String, on loop: any EventLoop) -> EventLoopFuture<ShareRoute?>? { nil }
}
