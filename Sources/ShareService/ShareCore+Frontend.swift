import Model
import NIOCore
import ShareFrontend

/// The public frontend in the process of the share service asks its core.
extension ShareCore: FrontendContext {
  var settings: FrontendSettings {
    FrontendSettings(
      zone: configuration.zone, isTLS: configuration.frontend.identity != nil, limits: configuration.limits.frontend,
      login: configuration.login)
  }

  var now: Timestamp { network.now }

  func relayed(service: String, rx: Int, tx: Int) {
    // Routers of this process count everything themselves.
    guard !network.tellsUsage else { return }
    usage.add(service: service, rx: rx, tx: tx, now: now)
  }

  /// The directory is filled from the store, as soon as that changes.
  func unreachable(_ token: String) {}

  func look(for host: String, on loop: any EventLoop) -> EventLoopFuture<ShareRoute?>? { nil }
}
