package import Authentication
package import Logging
package import Model
package import NIOCore

/// What a public frontend stands on: the core of the share service in its process, or, in a process of its own, what
/// the overlay tells it.
package protocol FrontendContext: AnyObject, Sendable {
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
package struct FrontendSettings: Sendable {
  var zone: String
  var isTLS: Bool
  var limits: FrontendLimits
  var login: LoginConfiguration?

  package init(zone: String, isTLS: Bool, limits: FrontendLimits, login: LoginConfiguration?) {
    self.zone = zone
    self.isTLS = isTLS
    self.limits = limits
    self.login = login
  }
}
