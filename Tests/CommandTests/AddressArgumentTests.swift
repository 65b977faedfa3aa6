import ArgumentParser
import Foundation
import Testing
import Transport

@testable import SwiftletCommand

@Suite("Addresses on the command line")
struct AddressArgumentTests {
  @Test("hosts of flags may be IPv6, with or without brackets, and have no port")
  func hosts() throws {
    #expect(
      try AddressArgument.host("::1") == "::1" && AddressArgument.host("[::1]") == "::1"
        && AddressArgument.host("example.com") == "example.com")
    #expect(
      try AddressArgument.place("[::1]:2222") == HostPort(host: "::1", port: 2222)
        && AddressArgument.place("::1").port == 0)
    #expect(try AddressArgument.address("2001:db8::1") == "2001:db8::1")
    for text in ["", "[::1]:80", "example.com:80", "a b"] {
      #expect(throws: ValidationError.self) { try AddressArgument.host(text) }
    }
    #expect(throws: ValidationError.self) { try AddressArgument.address("example.com") }
    #expect(throws: ValidationError.self) { try AddressArgument.place("::1:x") }
  }

  @Test("the commands take them")
  func commands() throws {
    #expect(try QuickstartCommand.parse(["--host", "::1"]).host == "::1")
    let serve = try ShareServeCommand.parse([
      "--host", "[::1]", "--trusted-proxy", "[2001:db8::1]", "--trusted-proxy", "192.0.2.1",
    ])
    #expect(serve.host == "::1" && serve.trustedProxies == ["2001:db8::1", "192.0.2.1"])
    #expect(try AccessPublicCommand.parse(["--host", "::"]).host == "::")
    #expect(try AccessPrivateCommand.parse(["token", "--bind", "[::1]:0"]).bind == HostPort(host: "::1", port: 0))
    let proxy = try TunnelProxyCommand.parse(["-i", "a.json", "web:8080", "--bind", "::1", "--grace", "90s"])
    #expect(proxy.bind == "::1" && proxy.ending.grace == .seconds(90))
    #expect(try TunnelProxyCommand.parse(["-i", "a.json", "web:8080"]).ending.grace == .seconds(10))
    #expect(try TunnelHostCommand.parse(["-i", "a.json", "web:[::1]:80", "--grace", "0"]).ending.grace == .zero)
    #expect(throws: (any Error).self) {
      try TunnelHostCommand.parse(["-i", "a.json", "web:[::1]:80", "--grace", "soon"])
    }
    #expect(throws: (any Error).self) { try ShareServeCommand.parse(["--trusted-proxy", "example.com"]) }
  }

  @Test("a service and its server, whose service may hold colons")
  func hostTargets() throws {
    for (text, service, server) in [
      ("web:127.0.0.1:8000", "web", "127.0.0.1:8000"), ("a:b:localhost:1", "a:b", "localhost:1"),
      ("web:[::1]:22", "web", "[::1]:22"),
      ("a:b:[2001:db8::1]:22", "a:b", "[2001:db8::1]:22"),
    ] {
      let target = try #require(HostTarget(argument: text))
      #expect(target.service == service && target.server.description == server)
    }
    for text in [
      "web", "web:80", ":127.0.0.1:80", "web:127.0.0.1:0", "web:127.0.0.1:x", "web:::1:22", "web:2001:db8::1:22",
      "web:[::1]", "web[::1]:22",
    ] {
      #expect(HostTarget(argument: text) == nil, "\(text)")
    }
    #expect(ProxyTarget(argument: "a:b:0")?.service == "a:b")
  }

  @Test("controllers are named by address or URL, the scheme in any case")
  func controllers() throws {
    for (text, base) in [
      ("localhost", "https://localhost:1280"), ("localhost:7", "https://localhost:7"),
      ("HTTPS://LocalHost:7/edge", "https://localhost:7"),
      ("https://[::1]:7/", "https://[::1]:7"), ("[::1]", "https://[::1]:1280"), ("::1", "https://[::1]:1280"),
    ] {
      #expect(try TrustProbe.base(text) == base)
    }
    for text in ["", "http://localhost:1280", "HTTP://localhost", "ftp://localhost", "a b", "[::1"] {
      #expect(throws: CommandFailure.self) { try TrustProbe.base(text) }
    }
  }

  @Test("where something listens follows from what others dial")
  func listening() {
    #expect(
      ListeningHost(host: "127.0.0.1").address == "127.0.0.1" && ListeningHost(host: "localhost").address == "127.0.0.1"
    )
    #expect(ListeningHost(host: "::1").address == "::1" && ListeningHost(host: "::1").near == "::1")
    #expect(ListeningHost(host: "2001:db8::1").address == "::" && ListeningHost(host: "2001:db8::1").near == "::1")
    #expect(
      ["::", "0.0.0.0"].contains(ListeningHost(host: "example.com").address)
        && ListeningHost(host: "example.com").near == "127.0.0.1")
  }

  @Test("names below localhost, which many programs do not find, come with a line that works everywhere")
  func loopbackNames() {
    #expect(
      LoopbackName.hint("http://docs.share.localhost:8080")
        == "Browsers and curl find docs.share.localhost; other programs may not, then: curl -H 'Host: docs.share.localhost:8080' 'http://127.0.0.1:8080/'"
    )
    #expect(
      LoopbackName.hint("http://d.localhost", endpoint: "http://[::1]:18080")?.hasSuffix(
        "curl -H 'Host: d.localhost' 'http://[::1]:80/'") == true)
    #expect(
      LoopbackName.hint("https://d.localhost:8443")?.hasSuffix("write '127.0.0.1 d.localhost' into /etc/hosts") == true)
    for text in [
      "https://docs.share.example.com", "http://localhost:8080", "swiftlet access private x", "127.0.0.1:80",
    ] {
      #expect(LoopbackName.hint(text) == nil)
    }
  }

  @Test("files of Windows' editors are read: no byte order mark is left of them")
  func mark() throws {
    let file = NSTemporaryDirectory() + "swiftlet-mark-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: file) }
    try Data([0xEF, 0xBB, 0xBF] + Array("token\r\n".utf8)).write(to: URL(fileURLWithPath: file))
    #expect(try PrivateFile.read(file, what: "the token") == Array("token\r\n".utf8))
  }

  @Test("errors of the TLS library are told without the files of its build")
  func words() {
    struct Foreign: Error, CustomStringConvertible {
      let description = "[Error: 1 error:1:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER at /build/a.cc:1]"
    }
    #expect(CommandFailure("cannot do it", Foreign()).description == "cannot do it: [what answers does not speak TLS]")
  }
}
