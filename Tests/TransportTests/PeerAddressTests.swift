import Testing

@testable import Transport

@Suite("Addresses of peers")
struct PeerAddressTests {
  @Test("both forms are read, both are written")
  func forms() throws {
    for text in ["tls:router.example:3022", "tls://router.example:3022"] {
      let address = try PeerAddress(parsing: text)
      #expect(address.host == "router.example")
      #expect(address.port == 3022)
      #expect(address.description == "tls:router.example:3022")
      #expect(address.url == "tls://router.example:3022")
    }
    #expect(try PeerAddress(parsing: "tls:[::1]:443") == PeerAddress(host: "::1", port: 443))
    #expect(PeerAddress(host: "::1", port: 443).description == "tls:[::1]:443")
  }

  @Test(
    "anything else is refused",
    arguments: ["", "tls:", "tls:host", "tls:host:", "tls:host:99999", "tcp:host:1", "host:1", "tls::1", "tls:a:b:1", "tls:[::1]", "tls:host:-1"])
  func refused(text: String) {
    #expect(throws: TransportError.self) { try PeerAddress(parsing: text) }
  }
}
