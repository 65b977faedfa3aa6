import Controller
import Crypto
import Foundation
import NIOCore
import NIOPosix
import NetworkFixture
import PKI
import SwiftASN1
import Swiftlet
import Testing
import Transport
import Wire
import X509

/// A5 of field.md D.4, for the tokens that exist: enrollment tokens, which clients judge, and service session tokens,
/// which routers judge.
@Suite("Tokens that nobody issued", .timeLimit(.minutes(5)))
struct TokenAttackTests {
  /// A token in the making.
  private struct Forgery {
    var header: [String: String]
    var claims: [String: Any]
    /// Signs the text of header and claims.
    let sign: (Data) throws -> Data

    func token() throws -> String {
      let parts = try [JSONSerialization.data(withJSONObject: header), JSONSerialization.data(withJSONObject: claims)]
        .map { Base64URL.encode($0) }
      let text = parts.joined(separator: ".")
      return text + "." + Base64URL.encode(try sign(Data(text.utf8)))
    }
  }

  /// The JSON object of a part of a token.
  private static func object(_ part: String) throws -> [String: Any] {
    let bytes = try #require(Base64URL.decode(part))
    return try #require(try JSONSerialization.jsonObject(with: bytes) as? [String: Any])
  }

  /// Forged versions of a genuine token.
  /// - Parameter resign: signs claims with the key of the network itself: what is wrong then is what they say.
  private static func forgeries(
    of genuine: String, certificate: Certificate, resign: ([String: Any]) async throws -> String
  ) async throws -> [(
    name: String, token: String
  )] {
    let parts = genuine.split(separator: ".").map(String.init)
    let header = try object(parts[0]).compactMapValues { $0 as? String }
    let claims = try object(parts[1])
    let publicPEM = try certificate.publicKey.serializeAsPEM()
    let ownKey = P256.Signing.PrivateKey()
    var found: [(String, String)] = []
    func add(_ name: String, _ header: [String: String], sign: @escaping (Data) throws -> Data) throws {
      found.append((name, try Forgery(header: header, claims: claims, sign: sign).token()))
    }
    let kid = header["kid"] ?? ""
    for algorithm in ["none", "None", "NONE", ""] {
      try add("algorithm \(algorithm)", ["alg": algorithm, "kid": kid, "typ": "JWT"]) { _ in Data() }
    }
    for (form, bytes) in [
      ("PEM", Data(publicPEM.pemString.utf8)), ("DER", Data(publicPEM.derBytes)),
      ("certificate", Data(certificate.derBytes)),
    ] {
      try add("HS256 with the public key as \(form)", ["alg": "HS256", "kid": kid]) { text in
        Data(HMAC<SHA256>.authenticationCode(for: text, using: SymmetricKey(data: bytes)))
      }
    }
    try add("another key under the network's kid", ["alg": "ES256", "kid": kid]) {
      try ownKey.signature(for: $0).rawRepresentation
    }
    try add("another key and an unknown kid", ["alg": "ES256", "kid": "0123456789012345678901234567890123456789"]) {
      try ownKey.signature(for: $0).rawRepresentation
    }
    try add("another key and no kid", ["alg": "ES256"]) { try ownKey.signature(for: $0).rawRepresentation }
    try add(
      "a key that the header brings along",
      ["alg": "ES256", "kid": kid, "jku": "https://169.254.169.254/", "x5u": "https://169.254.169.254/"]
    ) {
      try ownKey.signature(for: $0).rawRepresentation
    }
    let flipped = parts[2].first == "A" ? "B" + parts[2].dropFirst() : "A" + parts[2].dropFirst()
    found.append(("a changed signature", parts[0] + "." + parts[1] + "." + flipped))
    found.append(("no signature", parts[0] + "." + parts[1] + "."))
    found.append(("two parts", parts[0] + "." + parts[1]))
    found.append(("a megabyte more", genuine + String(repeating: "A", count: 1 << 20)))
    var huge = claims
    huge["x"] = String(repeating: "A", count: 1 << 20)
    found.append(("a megabyte of claims", try await resign(huge)))
    for member in ["iss", "aud", "exp", "jti", "sub"] {
      var less = claims
      less[member] = nil
      found.append(("without \(member), signed by the network", try await resign(less)))
    }
    let now = Int(Date().timeIntervalSince1970)
    for (name, change) in [("expired", ["exp": now - 1]), ("not valid yet", ["nbf": now + 3600])] {
      found.append(("\(name), signed by the network", try await resign(claims.merging(change) { $1 })))
    }
    return found
  }

  private func signer(_ scene: Scene) throws -> (certificate: Certificate, sign: ([String: Any]) async throws -> String)
  {
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: "\(scene.network.directory)/controller/pki/server.\(name)", encoding: .utf8)
    }
    let (certificate, key) = (try CertificateChain(pem: text("pem")).leaf, try PrivateKey(pem: text("key")))
    return (
      certificate,
      { claims in
        let json = try JSONSerialization.data(withJSONObject: claims)
        return try await TokenSigner(key: key, certificate: certificate).sign(
          JSONDecoder().decode(Loose.self, from: json))
      }
    )
  }

  /// Any JSON object, as claims.
  private enum Loose: Codable, Sendable {
    case object([String: Loose])
    case array([Loose])
    case text(String)
    case number(Int64)
    case flag(Bool)

    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if let flag = try? value.decode(Bool.self) {
        self = .flag(flag)
      } else if let number = try? value.decode(Int64.self) {
        self = .number(number)
      } else if let text = try? value.decode(String.self) {
        self = .text(text)
      } else if let array = try? value.decode([Loose].self) {
        self = .array(array)
      } else {
        self = .object(try value.decode([String: Loose].self))
      }
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .object(let members): try container.encode(members)
      case .array(let items): try container.encode(items)
      case .text(let text): try container.encode(text)
      case .number(let number): try container.encode(number)
      case .flag(let flag): try container.encode(flag)
      }
    }
  }

  @Test("no forged enrollment token enrolls anybody, and the genuine one is still good afterwards")
  func enrollment() async throws {
    let scene = try await Scene.start()
    let invitation = try await scene.network.invite("guest")
    let (certificate, sign) = try signer(scene)
    for forgery in try await Self.forgeries(of: invitation.jwt, certificate: certificate, resign: sign) {
      await #expect(throws: (any Error).self, "\(forgery.name)") { try await IdentityFile.enroll(jwt: forgery.token) }
    }
    #expect(try await IdentityFile.enroll(jwt: invitation.jwt).trustDomain == scene.trustDomain)
    await scene.stop()
  }

  @Test("no forged service session token, and nobody else's, dials anything at a router")
  func serviceSession() async throws {
    let scene = try await Scene.start()
    // The stranger may use the network, but not the victim's service.
    let service = try await scene.network.service(
      "private", dial: ["@\(scene.victim.id)"], bind: ["@\(scene.victim.id)"], encrypted: false)
    func session(_ token: String) async throws -> String {
      let body = #"{"serviceId":"\#(service.service)","type":"Dial"}"#
      let answer = try await HTTPSClient(tls: scene.victim.credential.tls).request(
        method: "POST", "https://127.0.0.1:\(scene.controller.port)/edge/client/v1/sessions",
        headers: [("content-type", "application/json"), ("zt-session", token)], body: Array(body.utf8))
      let object = try #require(try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any])
      return try #require(
        (object["data"] as? [String: Any])?["token"] as? String, "\(String(decoding: answer.body, as: UTF8.self))")
    }
    let victim = try #require(try await scene.logIn(scene.victim.credential)).token
    let own = try #require(try await scene.logIn(scene.stranger.credential)).token
    let genuine = try await session(victim)
    try await Network.wait("the router knows both sessions") {
      let (first, second) = (
        try await scene.opensEdge(scene.victim.credential, token: victim),
        try await scene.opensEdge(scene.stranger.credential, token: own)
      )
      return first && second
    }
    func channel(_ who: Credential, _ token: String) async throws -> MessageChannel {
      try await MessageChannel.dial(
        address: scene.router, tls: who.tls, alpn: ALPN.edge,
        hello: EdgeMessages.Hello(name: "attacker", token: token).message(),
        group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(20), heartbeats: nil)
    }
    func refusal(_ channel: MessageChannel, _ token: String) async throws -> String {
      // A frame beyond the limits is not answered: the router ends the connection.
      let answer = try await channel.request(
        EdgeMessages.Connect(connID: 1, token: token, options: .init(publicKey: [UInt8](repeating: 9, count: 32)))
          .message(),
        timeout: token.utf8.count > 1 << 20 ? .seconds(1) : .seconds(20))
      guard answer.contentType == .stateClosed else { return "connected" }
      return answer.text
    }
    // Judged and believed: only a host is missing.
    let honest = try await channel(scene.victim.credential, victim)
    let believed = try await refusal(honest, genuine)
    #expect(believed.contains("terminator"), "\(believed)")
    honest.close()

    let attacker = try await channel(scene.stranger.credential, own)
    let (certificate, sign) = try signer(scene)
    let claims = try Self.object(String(genuine.split(separator: ".")[1]))
    var forgeries = try await Self.forgeries(of: genuine, certificate: certificate, resign: sign)
    for (name, change) in [
      ("for another audience", ["aud": ["elsewhere"]] as [String: Any]), ("of another type", ["z_t": "a"]),
    ] {
      forgeries.append((name, try await sign(claims.merging(change) { $1 })))
    }
    for forgery in forgeries + [(name: "the victim's own token", token: genuine)] {
      // The channel, or a new one where it was cut.
      let way = attacker.isOpen ? attacker : try await channel(scene.stranger.credential, own)
      let answer = (try? await refusal(way, forgery.token)) ?? "cut"
      #expect(answer != "connected" && !answer.contains("terminator"), "\(forgery.name): \(answer)")
    }
    attacker.close()
    // By the victim itself: what is wrong with the token counts, not whose it is.
    for forgery in forgeries {
      let way = try await channel(scene.victim.credential, victim)
      let answer = (try? await refusal(way, forgery.token)) ?? "cut"
      #expect(answer != "connected" && !answer.contains("terminator"), "\(forgery.name), by the victim: \(answer)")
      way.close()
    }
    await scene.stop()
  }
}
