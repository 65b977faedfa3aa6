import Crypto
import Foundation
import JSON
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import PKI
import Synchronization
import Transport

@testable import ShareFrontend
@testable import ShareService

/// A provider of identities on loopback: OpenID Connect, and GitHub's calls, as strict as a real one about what clients
/// must prove. Everybody who comes is `email`.
final class FakeProvider: Sendable {
  struct State {
    var email = "ann@corp.example"
    var isVerified = true
    /// Where an address is told: in the ID token, or by userinfo alone.
    var tellsInToken = true
    /// Changes claims before they are signed.
    var forge: (@Sendable (inout JSONObject) -> Void)?
    /// Changes the signed token.
    var mangle: (@Sendable (String) -> String)?
    var declines = false
    var codes: [String: [String: String]] = [:]
    var authorizations: [[String: String]] = []
    var refusals: [String] = []
  }

  static let client = (id: "swiftlet client", secret: "se:cret/+")

  let state = Mutex(State())
  private let key = P256.Signing.PrivateKey()
  private let channel = Mutex<(any Channel)?>(nil)

  var port: Int { channel.withLock { $0?.localAddress?.port } ?? 0 }
  var issuer: String { "http://127.0.0.1:\(port)" }

  static func start() async throws -> FakeProvider {
    let provider = FakeProvider()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Handler(provider))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    provider.channel.withLock { $0 = channel }
    return provider
  }

  func stop() async throws { try await channel.withLock { $0 }?.close() }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let provider: FakeProvider
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()

    init(_ provider: FakeProvider) { self.provider = provider }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): (self.head, body) = (head, ByteBuffer())
      case .body(var part): body.writeBuffer(&part)
      case .end:
        guard let head else { return }
        let (status, headers, text) = provider.answer(head, String(buffer: body))
        let bytes = ByteBuffer(string: text)
        var fields = HTTPHeaders(headers)
        fields.add(name: "content-length", value: "\(bytes.readableBytes)")
        context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: fields))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      }
    }
  }

  private typealias Answer = (HTTPResponseStatus, [(String, String)], String)

  private static func json(_ value: JSONValue, _ status: HTTPResponseStatus = .ok) -> Answer {
    (status, [("content-type", "application/json")], value.text)
  }

  private func refuse(_ reason: String, _ status: HTTPResponseStatus = .badRequest) -> Answer {
    state.withLock { $0.refusals.append(reason) }
    return Self.json(["error": "invalid_grant"], status)
  }

  static func fields(_ text: some StringProtocol) -> [String: String] {
    Dictionary(
      text.split(separator: "&").map { pair in
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (
          String(parts[0]),
          parts.count > 1 ? String(parts[1].map { $0 == "+" ? " " : $0 }).removingPercentEncoding ?? "" : ""
        )
      }, uniquingKeysWith: { first, _ in first })
  }

  private func answer(_ head: HTTPRequestHead, _ body: String) -> Answer {
    let parts = head.uri.split(separator: "?", maxSplits: 1)
    let query = parts.count > 1 ? Self.fields(parts[1]) : [:]
    switch (head.method, parts[0]) {
    case (.GET, "/.well-known/openid-configuration"):
      return Self.json([
        "issuer": .string(issuer), "authorization_endpoint": .string(issuer + "/authorize"),
        "token_endpoint": .string(issuer + "/token"),
        "userinfo_endpoint": .string(issuer + "/userinfo"), "jwks_uri": .string(issuer + "/keys"),
      ])
    case (.GET, "/keys"):
      let point = key.publicKey.rawRepresentation
      return Self.json([
        "keys": [
          ["kty": "OKP", "kid": "other", "crv": "Ed25519", "x": "AA"],
          [
            "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": .string(Base64URL.encode(point.prefix(32))),
            "y": .string(Base64URL.encode(point.suffix(32))),
          ],
        ]
      ])
    case (.GET, "/authorize"), (.GET, "/login/oauth/authorize"):
      return state.withLock { state in
        state.authorizations.append(query)
        let back = (query["redirect_uri"] ?? "") + "?state=" + (query["state"] ?? "").pathSegment
        if state.declines {
          return (.found, [("location", back + "&error=access_denied&error_description=%3Cscript%3E")], "")
        }
        let code = "4/\(state.codes.count)-\(UInt64.random(in: 0 ... .max))"
        state.codes[code] = query
        return (.found, [("location", back + "&code=" + code.pathSegment)], "")
      }
    case (.POST, "/token"): return token(head, Self.fields(body), isGitHub: false)
    case (.POST, "/login/oauth/access_token"): return token(head, Self.fields(body), isGitHub: true)
    case (.GET, "/userinfo"):
      guard head.headers.first(name: "authorization") == "Bearer access" else {
        return refuse("no access token", .unauthorized)
      }
      return state.withLock { state in
        Self.json([
          "sub": "subject", "email": .string(state.email),
          "email_verified": .string(state.isVerified ? "true" : "false"),
        ])
      }
    case (.GET, "/api/v3/user/emails"):
      guard head.headers.first(name: "authorization") == "Bearer access", head.headers.contains(name: "user-agent")
      else {
        return refuse("no access token", .unauthorized)
      }
      return state.withLock { state in
        Self.json([
          ["email": "other@example.com", "primary": false, "verified": true],
          ["email": .string(state.email), "primary": true, "verified": .bool(state.isVerified)],
        ])
      }
    default: return refuse("\(head.method) \(head.uri)", .notFound)
    }
  }

  private func token(_ head: HTTPRequestHead, _ fields: [String: String], isGitHub: Bool) -> Answer {
    let pair = "\(Self.client.id.pathSegment):\(Self.client.secret.pathSegment)"
    let proven =
      isGitHub
      ? fields["client_id"] == Self.client.id && fields["client_secret"] == Self.client.secret
      : head.headers.first(name: "authorization") == "Basic " + Data(pair.utf8).base64EncodedString()
    guard proven else { return refuse("client not proven", .unauthorized) }
    guard let asked = state.withLock({ $0.codes.removeValue(forKey: fields["code"] ?? "") }) else {
      return refuse("code unknown or used")
    }
    guard fields["redirect_uri"] == asked["redirect_uri"], asked["client_id"] == Self.client.id,
      fields["grant_type"] == "authorization_code"
    else {
      return refuse("redirect_uri, client_id or grant_type")
    }
    guard let verifier = fields["code_verifier"], asked["code_challenge_method"] == "S256",
      Base64URL.encode(Data(SHA256.hash(data: Data(verifier.utf8)))) == asked["code_challenge"]
    else { return refuse("PKCE") }
    if isGitHub { return Self.json(["access_token": "access", "token_type": "bearer"]) }
    let (forge, mangle, email, isVerified, tells) = state.withLock {
      ($0.forge, $0.mangle, $0.email, $0.isVerified, $0.tellsInToken)
    }
    var claims: JSONObject = [
      "iss": .string(issuer), "sub": "subject", "aud": .string(Self.client.id),
      "exp": .int(Int64(Date().timeIntervalSince1970) + 300),
      "nonce": JSONValue(asked["nonce"]),
    ]
    if tells {
      claims["email"] = .string(email)
      claims["email_verified"] = .bool(isVerified)
    }
    forge?(&claims)
    let text =
      Base64URL.encode(Data(#"{"alg":"ES256","kid":"one"}"#.utf8)) + "."
      + Base64URL.encode(Data(JSONValue.object(claims).serialized()))
    guard let signature = try? key.signature(for: Data(text.utf8)) else { return refuse("signature") }
    let token = text + "." + Base64URL.encode(signature.rawRepresentation)
    return Self.json(["access_token": "access", "token_type": "Bearer", "id_token": .string(mangle?(token) ?? token)])
  }
}

extension ShareBench {
  /// A share service whose visitors sign in at this provider: `corp` speaks OpenID Connect, `hub` is a GitHub.
  static func start(signingIn provider: FakeProvider, _ configure: (inout ShareConfiguration) -> Void = { _ in })
    async throws -> ShareBench
  {
    // The login's URL names the port, so it is known before anything listens there.
    let probe = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0)
      .get()
    let port = probe.localAddress?.port ?? 0
    try await probe.close()
    let (issuer, client) = (provider.issuer, FakeProvider.client)
    return try await start { configuration in
      configure(&configuration)
      configuration.frontend.port = port
      guard
        let origin = LoginConfiguration.Origin(
          "\(configuration.frontend.identity == nil ? "http" : "https")://login.share.localhost:\(port)")
      else {
        return
      }
      configuration.login = LoginConfiguration(
        origin: origin,
        providers: [
          .init(
            name: "corp", kind: .oidc(issuer: issuer, discovery: nil), clientID: client.id, clientSecret: client.secret),
          .init(name: "hub", kind: .github(url: issuer), clientID: client.id, clientSecret: client.secret),
        ])
    }
  }
}
