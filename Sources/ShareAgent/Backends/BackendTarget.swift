import Foundation
public import SwiftletShare
import Transport

/// What is to be shared, as people write it: a directory, a file, a port, an address, a URL, a socket.
public enum BackendTarget: Sendable, Equatable, CustomStringConvertible {
  public enum Scheme: String, Sendable { case http, https, tcp, udp }

  case directory(String)
  case file(String)
  case caddyfile(String)
  /// - Parameters:
  ///   - host: `localhost` stands for both loopback addresses.
  ///   - path: of a web server, what requests go below, with the query that each of them gets; empty for all of it.
  case server(Scheme, host: String, port: Int, path: String = "")
  /// A web server at a socket of this machine.
  case socket(String)

  public struct Unclear: Error, CustomStringConvertible {
    public let description: String
  }

  /// Bytes of the path of a socket, by the system's `sockaddr_un`.
  private static let socketLimit = 107

  /// - Parameter mode: what was said to serve it, if anything was.
  /// - Throws: `Unclear`, with what would be understood.
  public static func recognise(_ text: String, for mode: ShareOptions.Backend? = nil) throws -> BackendTarget {
    if let port = Int(text) {
      guard (1...65535).contains(port) else {
        throw Unclear(description: "\(port) is no port; give a number from 1 to 65535")
      }
      let spoken = Scheme.implied(nil, port, mode)
      // Of datagrams nobody tells at which of the two addresses they arrived.
      return .server(spoken, host: spoken == .udp ? "127.0.0.1" : "localhost", port: port)
    }
    if text.lowercased().hasPrefix("unix:") { return try socket(text.dropFirst(5)) }
    var rest = text[...]
    var scheme: Scheme?
    if let mark = text.range(of: "://"), let known = Scheme(rawValue: text[..<mark.lowerBound].lowercased()) {
      rest = text[mark.upperBound...]
      scheme = known
    }
    var isDirectory: ObjCBool = false
    let path = NSString(string: text).expandingTildeInPath
    if scheme == nil, FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) {
      let whole = absolute(path)
      if isDirectory.boolValue { return .directory(whole) }
      if mode == .caddy || (mode == nil && (whole as NSString).lastPathComponent == "Caddyfile") {
        return .caddyfile(whole)
      }
      return .file(whole)
    }
    if text.hasPrefix("/") || text.hasPrefix(".") || text.hasPrefix("~") {
      throw Unclear(description: "there is no file or directory \(text)")
    }
    let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
    guard let parts = PeerAddress.split(rest[..<end], defaultPort: scheme?.defaultPort ?? 0), parts.port > 0 else {
      throw Unclear(
        description:
          "'\(text)' is neither a directory nor a server; give a directory, a port, host:port, a URL, or unix:/path of a socket"
      )
    }
    let spoken = Scheme.implied(scheme, parts.port, mode)
    // What is behind `#` never leaves a browser.
    let below = String(rest[end...].prefix { $0 != "#" })
    guard below.isEmpty || below == "/" || !spoken.isOfTunnels else {
      throw Unclear(description: "a tunnel leads to a server, not to a path of it; give \(rest[..<end])")
    }
    return .server(spoken, host: parts.host, port: parts.port, path: below == "/" ? "" : below)
  }

  /// `/run/app.sock`, `//run/app.sock` as some write it, `///run/app.sock` of a URL, or a path from here.
  private static func socket(_ text: Substring) throws -> BackendTarget {
    let slashes = text.prefix { $0 == "/" }.count
    let path = slashes > 1 ? "/" + text.dropFirst(slashes) : NSString(string: String(text)).expandingTildeInPath
    let whole = absolute(path)
    guard !text.isEmpty, whole != "/" else {
      throw Unclear(description: "unix: needs the path of a socket, such as unix:/run/app.sock")
    }
    guard whole.utf8.count <= socketLimit else {
      throw Unclear(description: "\(whole) is too long for a socket: its path has at most \(socketLimit) bytes")
    }
    return .socket(whole)
  }

  /// The path from the root on, as it was given: its symlinks may lead elsewhere tomorrow, and what is behind them then
  /// is what is shared.
  private static func absolute(_ path: String) -> String {
    var base = path.hasPrefix("/") ? [] : FileManager.default.currentDirectoryPath.split(separator: "/")
    var names = path.split(separator: "/").filter { $0 != "." }[...]
    // The working directory has no symlink in it: what is above it is what is written before it.
    while names.first == "..", base.popLast() != nil { names.removeFirst() }
    return "/" + (base + names).joined(separator: "/")
  }

  /// What serves it where nobody says.
  public var defaultMode: ShareOptions.Backend {
    switch self {
    case .directory, .file: .web
    case .caddyfile: .caddy
    case .server(.tcp, _, _, _): .tcpTunnel
    case .server(.udp, _, _, _): .udpTunnel
    case .server, .socket: .proxy
    }
  }

  public var description: String {
    switch self {
    case .directory(let path), .file(let path), .caddyfile(let path): path
    case .server(let scheme, let host, let port, let path):
      (scheme.isOfTunnels ? "" : scheme.rawValue + "://") + "\(host.contains(":") ? "[\(host)]" : host):\(port)\(path)"
    case .socket(let path): "unix:" + path
    }
  }
}

extension BackendTarget.Scheme {
  /// nil where the port has to be said.
  var defaultPort: Int? {
    switch self {
    case .http: 80
    case .https: 443
    case .tcp, .udp: nil
    }
  }

  /// What is spoken there: what the mode carries, what was said, or what such a port usually speaks.
  static func implied(_ said: Self?, _ port: Int, _ mode: ShareOptions.Backend?) -> Self {
    switch mode {
    case .tcpTunnel: .tcp
    case .udpTunnel: .udp
    default: said ?? (port == 443 ? .https : .http)
    }
  }

  /// Whether people write such a server without it, as they do for zrok's tunnels.
  var isOfTunnels: Bool { self == .tcp || self == .udp }
}
