import NIOCore
import Testing

@testable import Transport

@Suite("Hosts with their ports")
struct HostPortTests {
  @Test(
    "what people write is read, and written as everybody reads it",
    arguments: [
      ("example.com:443", "example.com", 443, "example.com:443"),
      ("192.0.2.7:0", "192.0.2.7", 0, "192.0.2.7:0"),
      ("[::1]:1280", "::1", 1280, "[::1]:1280"),
      ("[2001:DB8:0:0::1]:65535", "2001:db8::1", 65535, "[2001:db8::1]:65535"),
      ("[fe80::1%eth0]:22", "fe80::1%eth0", 22, "[fe80::1%eth0]:22"),
      ("[fe80::1%25eth0]:22", "fe80::1%eth0", 22, "[fe80::1%eth0]:22"),
    ])
  func whole(text: String, host: String, port: Int, written: String) throws {
    let place = try #require(HostPort(text))
    #expect(place.host == host && place.port == port && place.description == written)
    #expect(HostPort(written) == place)
    #expect(HostPort(text, defaultPort: 80) == place)
  }

  @Test(
    "a missing port is filled in; an IPv6 address alone needs no brackets then",
    arguments: [
      ("example.com", "example.com:80"), ("example.com:", "example.com:80"), ("[::1]", "[::1]:80"), ("::1", "[::1]:80"),
      ("::", "[::]:80"),
    ])
  func alone(text: String, written: String) {
    #expect(HostPort(text, defaultPort: 80)?.description == written)
    #expect(HostPort(text) == nil)
  }

  @Test(
    "anything else is refused",
    arguments: [
      "", ":", ":80", "a:b:1", "::1:", "1::5:xyz", "[]:80", "[::1", "::1]:80", "[a]:80", "[192.0.2.1]:80", "[::1]80",
      "[::1]:", "a b:80", "a/b:80",
      "user@host:80", "host:+80", "host:-1", "host:65536", "host:080000", "host:8a", "[fe80::1%]:80",
      "[fe80::1%a b]:80",
      "[::1\u{0}x]:80", "127.0.0.1\u{0}x:80",
    ])
  func refused(text: String) { #expect(HostPort(text) == nil) }

  @Test("brackets given with a host are not written twice")
  func brackets() {
    #expect(HostPort(host: "[::1]", port: 80) == HostPort(host: "::1", port: 80))
    #expect(HostPort(host: "0:0:0:0:0:0:0:1", port: 80).description == "[::1]:80")
    #expect(
      HostPort.host("[::1]") == "::1" && HostPort.host("example.com") == "example.com"
        && HostPort.host("[example.com]") == nil)
    #expect(HostPort.address("[2001:db8::1]") == "2001:db8::1" && HostPort.address("192.0.2.1") == "192.0.2.1")
    #expect(HostPort.address("example.com") == nil)
  }

  @Test("addresses of sockets: IPv6 in brackets, IPv4 as itself also where an IPv6 socket took it")
  func sockets() throws {
    #expect(try SocketAddress(ipAddress: "::1", port: 7).text == "[::1]:7")
    #expect(try SocketAddress(ipAddress: "192.0.2.1", port: 7).text == "192.0.2.1:7")
    #expect(try SocketAddress(ipAddress: "::ffff:192.0.2.1", port: 7).text == "192.0.2.1:7")
    #expect(
      ClientNetwork.key("::ffff:192.0.2.1") == "192.0.2.1" && ClientNetwork.key("[::FFFF:c000:201]") == "192.0.2.1")
    #expect(PresentedPeer.anonymous(remoteAddress: "[2001:db8::1]:7").remoteHost == "2001:db8::1")
    #expect(PresentedPeer.anonymous(remoteAddress: "192.0.2.1:7").remoteHost == "192.0.2.1")
    #expect(PresentedPeer.anonymous(remoteAddress: "unknown").remoteHost == "unknown")
  }
}

@Suite("Addresses of peers")
struct PeerAddressTests {
  @Test("both forms are read, both are written")
  func forms() throws {
    for text in ["tls:router.example:3022", "tls://router.example:3022", "TLS://router.example:3022"] {
      let address = try PeerAddress(parsing: text)
      #expect(address.host == "router.example")
      #expect(address.port == 3022)
      #expect(address.description == "tls:router.example:3022")
      #expect(address.url == "tls://router.example:3022")
    }
    #expect(try PeerAddress(parsing: "tls:[::1]:443") == PeerAddress(host: "::1", port: 443))
    #expect(PeerAddress(host: "::1", port: 443).description == "tls:[::1]:443")
    #expect(PeerAddress(host: "::1", port: 443).url == "tls://[::1]:443")
  }

  @Test(
    "anything else is refused",
    arguments: [
      "", "tls:", "tls:host", "tls:host:", "tls:host:99999", "tcp:host:1", "host:1", "tls::1", "tls:a:b:1", "tls:[::1]",
      "tls:host:-1",
    ])
  func refused(text: String) {
    #expect(throws: TransportError.self) { try PeerAddress(parsing: text) }
  }
}

@Suite("URLs of servers")
struct ServerURLTests {
  @Test("schemes in any case, IPv6 addresses, paths and queries")
  func read() throws {
    let whole = try #require(ServerURL("HTTPS://[::1]:1280/edge/?a=b"))
    #expect(
      whole.isTLS && whole.place == HostPort(host: "::1", port: 1280) && whole.target == "/edge/?a=b"
        && whole.path == "/edge")
    #expect(whole.origin == "https://[::1]:1280" && whole.authority == "[::1]:1280")
    let short = try #require(ServerURL("http://example.com"))
    #expect(!short.isTLS && short.target == "/" && short.path.isEmpty && short.origin == "http://example.com:80")
    #expect(short.shortOrigin == "http://example.com" && short.authority == "example.com")
    #expect(ServerURL("::1", impliesTLS: true, defaultPort: 1280)?.origin == "https://[::1]:1280")
    #expect(ServerURL("example.com:8080/x", impliesTLS: false)?.origin == "http://example.com:8080")
  }

  @Test(
    "anything else is refused",
    arguments: [
      "example.com", "ftp://example.com", "https://", "https:///x", "https://a b/", "https://user@host/",
      "https://::1:80x/",
    ])
  func refused(text: String) { #expect(ServerURL(text) == nil) }
}
