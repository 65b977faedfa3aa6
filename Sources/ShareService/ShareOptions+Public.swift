import SwiftletShare
import Tunnel

/// How public shares of a mode are reached.
extension ShareOptions.Backend {
  /// Whether a public frontend, which speaks HTTP, can serve it.
  var isHTTP: Bool {
    switch self {
    case .proxy, .web, .caddy, .drive: true
    case .tcpTunnel, .udpTunnel, .socks: false
    }
  }

  /// What a port of its own carries to it.
  var transport: TunnelTransport? {
    switch self {
    case .tcpTunnel: .tcp
    case .udpTunnel: .udp
    case .proxy, .web, .caddy, .drive, .socks: nil
    }
  }
}
