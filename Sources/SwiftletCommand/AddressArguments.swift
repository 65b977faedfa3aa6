import ArgumentParser
import Foundation
import NIOCore
import PKI
import Transport
import Tunnel

/// Places on the command line, by the one reader that files and wires have too (`HostPort`).
enum AddressArgument {
  /// A name or an address without port, IPv6 with or without brackets.
  @Sendable static func host(_ text: String) throws -> String {
    guard let host = HostPort.host(text) else {
      throw ValidationError("'\(text)' is no name and no address; a port is given by itself")
    }
    return host
  }

  /// An address without port.
  @Sendable static func address(_ text: String) throws -> String {
    guard let address = HostPort.address(text) else {
      throw ValidationError("'\(text)' is no address, such as 192.0.2.10 or 2001:db8::10")
    }
    return address
  }

  /// `host:port`; without a port any free one.
  @Sendable static func place(_ text: String) throws -> HostPort {
    guard let place = HostPort(text, defaultPort: 0) else {
      throw ValidationError("'\(text)' is no address; write host:port, an IPv6 address in brackets: [::1]:8080")
    }
    return place
  }

  static func requirePort(_ port: Int) throws {
    guard (0...65535).contains(port) else { throw ValidationError("\(port) is no port; give a number from 0 to 65535") }
  }
}

/// A word in a command that is shown to be pasted into a shell.
enum ShellWord {
  /// Brackets of an IPv6 address are a pattern to some shells.
  static func quoted(_ word: String) -> String { word.contains("[") ? "'\(word)'" : word }
}

/// Where something listens that others dial at a host.
struct ListeningHost: Sendable {
  /// What others dial.
  let host: String

  var isLocal: Bool { HostName(host)?.isLoopback ?? false }

  /// The address to listen on: of this machine alone, or all there are.
  var address: String {
    if isLocal { return HostPort.address(host) ?? "127.0.0.1" }
    // An IPv6 socket takes IPv4 as well, where the machine lets it.
    return host.contains(":") || Self.takesBoth ? "::" : "0.0.0.0"
  }

  /// How this process reaches it.
  var near: String { isLocal ? host : host.contains(":") ? "::1" : "127.0.0.1" }

  /// Whether a socket that listens on `::` is reached over both families.
  private static let takesBoth: Bool = {
    let descriptor = socket(AF_INET6, ListeningHost.streamType, 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var isV6Only: Int32 = 1
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &isV6Only, &length) == 0, isV6Only == 0 else {
      return false
    }
    var everywhere = sockaddr_in6()
    everywhere.sin6_family = sa_family_t(AF_INET6)
    return withUnsafePointer(to: &everywhere) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
      }
    }
  }()

  #if canImport(Glibc)
    private static let streamType = Int32(SOCK_STREAM.rawValue)
  #else
    private static let streamType = SOCK_STREAM
  #endif
}

/// What happens to connections that are open when a command is told to end.
struct GraceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How long open connections may go on when it is told to end, such as 30s or 2m; told a second time it ends at once.",
      valueName: "duration"),
    transform: { text in
      guard let amount = DurationArgument.orSeconds(text) else {
        throw ValidationError("'\(text)' is no duration; write 30s, 2m or 0")
      }
      return .nanoseconds(amount.nanoseconds)
    })
  var grace: Duration = Farewell.defaultLimit
}
