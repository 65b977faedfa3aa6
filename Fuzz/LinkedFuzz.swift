import Foundation
import PKI
import SealedStream
import SwiftASN1
import SwiftProtobuf
import Swiftlet
import Transport
import WireSchemas
import X509

// Parsers that need their packages (X.509, protobuf, YAML, libsodium): a target of the package that exists while FUZZ
// is set, built with the sanitizers throughout. A trap, a sanitizer report or a broken promise fails.

let parsers: [String: Parser] = [
  "certificate": { bytes in
    guard let leaf = try? Certificate(derEncoded: Array(bytes)) else { return }
    _ = (
      leaf.spiffeID, leaf.commonName, leaf.isAuthority, leaf.sha1Fingerprint, leaf.hostNames, leaf.names(host: "a"),
      leaf.isValid(at: Date())
    )
    _ = CertificateRenewal.isDue(leaf, now: Date())
  },
  "pem": { bytes in
    _ = try? CertificateChain(pem: text(bytes))
    _ = try? PrivateKey(pem: text(bytes))
    _ = try? CSR(pem: text(bytes))
  },
  "csr": { bytes in _ = try? CSR(pem: PEMDocument(type: "CERTIFICATE REQUEST", derBytes: Array(bytes)).pemString) },
  "private-key": { bytes in
    for type in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
      _ = try? PrivateKey(pem: PEMDocument(type: type, derBytes: Array(bytes)).pemString)
    }
  },
  "pkcs7": { bytes in
    _ = try? PKCS7.parse(base64: Array(bytes))
    _ = try? PKCS7.parse(base64: Array(Data(bytes).base64EncodedString().utf8))
  },
  "token": { bytes in
    guard let parts = try? TokenParts(text(bytes)) else { return }
    _ = try? parts.unverifiedClaims(as: EnrollmentClaims.self)
    _ = try? parts.unverifiedClaims(as: ServiceSessionClaims.self)
  },
  "key-set": { bytes in
    _ = try? JWKS.keys(in: Data(bytes))
    _ = try? TokenVerifier.Key(kid: "k", der: Array(bytes))
  },
  "addresses": { bytes in
    let text = text(bytes)
    if let address = try? PeerAddress(parsing: text) {
      precondition((try? PeerAddress(parsing: address.description)) == address, "an address changes")
    }
    if let place = HostPort(text, defaultPort: 80) {
      precondition(HostPort(place.description) == place, "a host with its port changes")
    }
    if let url = ServerURL(text, impliesTLS: true) {
      precondition(
        ServerURL(url.origin + url.target).map { $0.target == url.target && $0.place == url.place } == true,
        "a URL changes")
    }
    if let name = HostName(text) { precondition(HostName(name.description) == name, "a host name changes") }
    if let octets = IPAddressText.octets(text) {
      precondition(IPAddressText.text(octets).flatMap(IPAddressText.octets) == octets, "an IP address changes")
    }
    if let id = SPIFFEID(text) { precondition(SPIFFEID(id.description) == id, "a SPIFFE id changes") }
  },
  "plain-http": { bytes in
    let half = UnsafeRawBufferPointer(rebasing: bytes.prefix(bytes.count / 2))
    let verdict = PlainHTTPRequest.judge(bytes)
    if PlainHTTPRequest.judge(half) == .other { precondition(verdict == .other, "what was no HTTP becomes some") }
    guard case .request(let request) = verdict else { return }
    let answer = PlainHTTPRequest.answer(to: request, redirects: true)
    precondition(
      answer.utf8.allSatisfy { $0 < 0x7F && ($0 >= 0x20 || $0 == 0x0D || $0 == 0x0A) },
      "an answer repeats control characters")
    precondition(answer.split(separator: "\r\n").count <= 7, "an answer has fields that a stranger wrote")
  },
  "yaml": { bytes in
    guard let document = try? StrictDocument(text: text(bytes), file: "f") else { return }
    _ = try? document.root.string("a")
    _ = try? document.root.section("b")?.int("c", in: 0...10)
    _ = try? document.root.sections("d")
    _ = try? document.root.list("e")
    _ = try? document.root.duration("f")
    try? document.finish()
  },
  "identity-file": { bytes in
    guard let file = try? IdentityFile(parsing: Array(bytes)) else { return }
    precondition(
      (try? IdentityFile(parsing: file.serialized())) != nil, "an identity file that was written does not parse")
  },
  "secretstream": { bytes in
    _ = try? PlaintextParts.parts(of: Array(bytes))
    var copy = Array(bytes)
    _ = copy.withUnsafeMutableBytes { try? PlaintextParts.joinInPlace($0) }
    guard bytes.count > 24, let key = try? StreamKey(bytes: [UInt8](repeating: 7, count: 32)) else { return }
    guard let opener = try? Opener(key: key, header: Array(bytes[..<24])) else { return }
    _ = try? opener.open(Array(bytes[24...]))
  },
  "protobuf": { bytes in
    guard let first = bytes.first else { return }
    let body = Array(bytes.dropFirst())
    _ = try? messages[Int(first) % messages.count].init(serializedBytes: body)
  },
]

/// Bodies that routers and controllers send each other.
private let messages: [any SwiftProtobuf.Message.Type] = [
  EdgeCtrlCreateTerminatorV2Request.self, EdgeCtrlDataState.self, EdgeCtrlChangeSet.self, EdgeCtrlApiSessionAdded.self,
  EdgeCtrlConnectEvents.self, EdgeCtrlSubscribeToDataModelRequest.self, EdgeCtrlClientHello.self,
  EdgeCtrlEnrollmentExtendRouterRequest.self, CtrlCircuitConfirmation.self, CtrlFault.self, CtrlUnroute.self,
  CtrlValidateTerminatorsV2Request.self, CtrlUpdateCtrlAddresses.self, MetricsMetricsMessage.self,
]
