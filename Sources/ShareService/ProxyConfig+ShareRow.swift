import ShareFrontend
import SwiftletShare

extension ProxyConfig {
  /// What a share's config says of it.
  /// - Parameters:
  ///   - clear: users with their passwords, for frontends of upstream; empty writes none.
  ///   - hosts: of a public share.
  init(_ share: ShareRow, clear: [(username: String, password: String)], hosts: [String]) {
    self.init(
      share.gate, interstitial: share.interstitial, clear: clear,
      place: share.mode == .public ? (hosts, share.backendMode, share.windowed) : nil)
  }
}
