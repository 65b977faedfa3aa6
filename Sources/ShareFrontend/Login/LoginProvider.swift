import Crypto
import Foundation
import JSON
import Model
import NIOCore
import PKI
import Transport

/// Why a visitor's identity is not known.
enum LoginError: Error, CustomStringConvertible {
  /// The provider cannot be asked, or answers something else than it should.
  case provider(String)
  /// The provider answered, and the answer is no.
  case refused(String)
  /// The provider knows the visitor, but no address that could be judged.
  case noEmail(String)

  var description: String {
    switch self {
    case .provider(let why): "the sign-in provider does not answer as it should: \(why)"
    case .refused(let why): "the sign-in provider refused: \(why)"
    case .noEmail(let why): "the sign-in provider tells no e-mail address to go by: \(why)"
    }
  }
}

/// One provider, asked from behind: where a browser signs in, and whose address a code stands for (OpenID Connect Core
/// 3.1, RFC 6749 4.1, RFC 7636).
actor LoginProvider {
  /// What a sign-in is tied to.
  struct Attempt: Sendable, Codable, Equatable {
    /// PKCE; the provider sees its digest first.
    var verifier: String
    /// Comes back in the ID token.
    var nonce: String

    init() {
      verifier = LoginSeal.secret()
      nonce = LoginSeal.secret()
    }
  }

  private struct Endpoints: Sendable {
    var authorization: String
    var token: String
    var userInfo: String?
    var keys: String?
    /// Whether the client's secret goes into a header.
    var usesBasic = true
  }

  /// Claims of an ID token that count here.
  private struct Claims: ExpiringClaims {
    struct Audience: Codable, Sendable {
      var names: [String]
      init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        names = try (try? value.decode([String].self)) ?? [value.decode(String.self)]
      }
      func encode(to encoder: any Encoder) throws { try names.encode(to: encoder) }
    }
    /// Some providers write a text.
    struct Verdict: Codable, Sendable {
      var holds: Bool
      init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        holds = try (try? value.decode(Bool.self)) ?? (value.decode(String.self) == "true")
      }
      func encode(to encoder: any Encoder) throws { try holds.encode(to: encoder) }
    }
    var iss: String
    var sub: String
    var aud: Audience
    var exp: Int64
    var azp: String?
    var nonce: String?
    var email: String?
    var emailVerified: Verdict?

    private enum CodingKeys: String, CodingKey {
      case iss, sub, aud, exp, azp, nonce, email
      case emailVerified = "email_verified"
    }
  }

  private static let timeout = TimeAmount.seconds(10)
  private static let bodyLimit = 256 * 1024
  /// A provider's endpoints and keys are read again after this; after a failure they are not asked for more often than
  /// that.
  private static let freshness = Duration.seconds(3600)
  private static let patience = Duration.seconds(10)
  /// Of the provider's clock, seconds.
  private static let skew = 60.0

  nonisolated let settings: LoginConfiguration.Provider
  private let client: HTTPSClient
  private var endpoints: (task: Task<Endpoints, any Error>, until: ContinuousClock.Instant)?
  private var keys:
    (task: Task<TokenVerifier, any Error>, until: ContinuousClock.Instant, askedAt: ContinuousClock.Instant)?

  init(_ settings: LoginConfiguration.Provider) throws {
    self.settings = settings
    client = HTTPSClient(tls: ClientTLS(trust: try .roots(file: settings.roots)), allowsPlaintext: true)
  }

  /// Whether nobody on the way can change what is read there: TLS, or this machine.
  static func isProtected(_ url: String) -> Bool {
    if url.hasPrefix("https://") { return true }
    guard url.hasPrefix("http://") else { return false }
    let authority = url.dropFirst(7).prefix { $0 != "/" && $0 != "?" }
    return ["127.0.0.1", "localhost", "[::1]"].contains {
      authority == $0 || authority.hasPrefix($0 + ":") && !authority.contains("@")
    }
  }

  // MARK: The browser's way there

  /// Where the browser goes to sign in.
  func authorization(_ attempt: Attempt, state: String, redirect: String, prompt: String?) async throws -> String {
    let endpoint = try await known().authorization
    var fields = [
      ("response_type", "code"), ("client_id", settings.clientID), ("redirect_uri", redirect),
      ("scope", settings.scopes.joined(separator: " ")),
      ("state", state),
    ]
    if case .oidc = settings.kind { fields.append(("nonce", attempt.nonce)) }
    if settings.usesPKCE {
      fields += [("code_challenge", LoginSeal.digest(attempt.verifier)), ("code_challenge_method", "S256")]
    }
    if let prompt = prompt ?? settings.prompt { fields.append(("prompt", prompt)) }
    return endpoint + (endpoint.contains("?") ? "&" : "?") + Self.form(fields)
  }

  // MARK: The code's way back

  /// The checked e-mail address of whoever a code was given for.
  /// - Parameter issuer: what the browser's answer says of itself (RFC 9207), if anything.
  /// - Throws: `LoginError`.
  func email(code: String, _ attempt: Attempt, redirect: String, issuer: String?, now: Date) async throws -> String {
    switch settings.kind {
    case .oidc(let own, _):
      if let issuer, issuer != own { throw LoginError.refused("the answer comes from another issuer") }
      return try await openID(code, attempt, redirect, own, now)
    case .github(let url): return try await github(code, attempt, redirect, url)
    }
  }

  private func openID(_ code: String, _ attempt: Attempt, _ redirect: String, _ issuer: String, _ now: Date)
    async throws -> String
  {
    let endpoints = try await known()
    let answer = try await redeem(code, attempt, redirect, endpoints)
    guard let token = answer["id_token"]?.stringValue else {
      throw LoginError.provider("no ID token; the scope openid is needed")
    }
    let claims = try await verified(token, now)
    guard claims.iss == issuer else { throw LoginError.refused("the ID token is of another issuer") }
    guard claims.aud.names.contains(settings.clientID),
      claims.azp.map({ $0 == settings.clientID }) ?? (claims.aud.names.count == 1)
    else {
      throw LoginError.refused("the ID token is meant for another client")
    }
    guard claims.nonce == attempt.nonce else { throw LoginError.refused("the ID token belongs to another sign-in") }
    if let email = claims.email { return try judged(email, isVerified: claims.emailVerified?.holds ?? false) }
    guard let userInfo = endpoints.userInfo, let access = answer["access_token"]?.stringValue else {
      throw LoginError.noEmail(
        "neither the ID token has one nor is there a userinfo endpoint; the scope email is needed")
    }
    let info = try await ask(userInfo, headers: [("authorization", "Bearer \(access)")])
    guard info["sub"]?.stringValue == claims.sub else {
      throw LoginError.refused("userinfo speaks of somebody else than the ID token")
    }
    guard let email = info["email"]?.stringValue else { throw LoginError.noEmail("the scope email is needed") }
    let verdict = info["email_verified"]
    return try judged(email, isVerified: verdict?.boolValue ?? (verdict?.stringValue == "true"))
  }

  private func github(_ code: String, _ attempt: Attempt, _ redirect: String, _ url: String) async throws -> String {
    let answer = try await redeem(code, attempt, redirect, try await known())
    guard let access = answer["access_token"]?.stringValue else { throw LoginError.refused("no access token") }
    let api = url == "https://github.com" ? "https://api.github.com" : url + "/api/v3"
    let list = try await ask(
      api + "/user/emails", headers: [("authorization", "Bearer \(access)"), ("x-github-api-version", "2022-11-28")])
    guard let primary = list.arrayValue?.first(where: { $0["primary"]?.boolValue == true }),
      let email = primary["email"]?.stringValue
    else {
      throw LoginError.noEmail("the account has no primary address, or the scope user:email is missing")
    }
    return try judged(email, isVerified: primary["verified"]?.boolValue ?? false)
  }

  /// An address as patterns are held against it and as it stands in a header.
  private func judged(_ text: String, isVerified: Bool) throws(LoginError) -> String {
    // Before lower case: other letters may become ones of ASCII.
    let isPlain = (3...254).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    let email = text.lowercased()
    guard isPlain, email.split(separator: "@").count == 2,
      email.utf8.count(where: { $0 == UInt8(ascii: "@") }) == 1
    else { throw .noEmail("'\(text.prefix(64))' is no address that can be judged") }
    guard isVerified || settings.allowsUnverifiedEmail else {
      throw .noEmail("the provider has not checked that \(email) is the visitor's")
    }
    return email
  }

  private func redeem(_ code: String, _ attempt: Attempt, _ redirect: String, _ endpoints: Endpoints) async throws
    -> JSONValue
  {
    var fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect)]
    var headers = [("content-type", "application/x-www-form-urlencoded")]
    if settings.usesPKCE { fields.append(("code_verifier", attempt.verifier)) }
    if endpoints.usesBasic, !settings.clientSecret.isEmpty {
      // Both are encoded before they are joined (RFC 6749 2.3.1).
      let pair = settings.clientID.pathSegment + ":" + settings.clientSecret.pathSegment
      headers.append(("authorization", "Basic " + Data(pair.utf8).base64EncodedString()))
    } else {
      fields.append(("client_id", settings.clientID))
      if !settings.clientSecret.isEmpty { fields.append(("client_secret", settings.clientSecret)) }
    }
    let answer = try await ask(endpoints.token, headers: headers, body: Array(Self.form(fields).utf8))
    // GitHub refuses with status 200.
    if let error = answer["error"]?.stringValue { throw LoginError.refused(String(error.prefix(64))) }
    return answer
  }

  private func verified(_ token: String, _ now: Date) async throws -> Claims {
    let leeway = now.addingTimeInterval(-Self.skew)
    do {
      do {
        return try await verifier(rereads: false).verify(token, as: Claims.self, now: leeway)
      } catch PKIError.unknownTokenKey {
        // The provider may have changed its keys.
        return try await verifier(rereads: true).verify(token, as: Claims.self, now: leeway)
      }
    } catch let error as PKIError {
      throw LoginError.refused("\(error)")
    }
  }

  // MARK: What is known of the provider

  private func known() async throws -> Endpoints {
    let now = ContinuousClock.now
    if let endpoints, endpoints.until > now { return try await endpoints.task.value }
    let task = Task { try await self.discover() }
    endpoints = (task, now + Self.freshness)
    do { return try await task.value } catch {
      endpoints = (task, now + Self.patience)
      throw error
    }
  }

  private func discover() async throws -> Endpoints {
    switch settings.kind {
    case .github(let url):
      return Endpoints(
        authorization: url + "/login/oauth/authorize", token: url + "/login/oauth/access_token", usesBasic: false)
    case .oidc(let issuer, let discovery):
      let base = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
      let document = try await ask(discovery ?? base + "/.well-known/openid-configuration")
      guard document["issuer"]?.stringValue == issuer else {
        throw LoginError.provider(
          "its discovery document is of the issuer '\(document["issuer"]?.stringValue ?? "")', not '\(issuer)'")
      }
      func url(_ member: String) throws(LoginError) -> String? {
        guard let url = document[member]?.stringValue else { return nil }
        guard Self.isProtected(url), !url.contains("#"), url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
          throw .provider("\(member) is not an https:// address")
        }
        return url
      }
      guard let authorization = try url("authorization_endpoint"), let token = try url("token_endpoint"),
        let keys = try url("jwks_uri")
      else {
        throw LoginError.provider("its discovery document lacks authorization_endpoint, token_endpoint or jwks_uri")
      }
      let methods = document["token_endpoint_auth_methods_supported"]?.stringArrayValue
      return Endpoints(
        authorization: authorization, token: token, userInfo: try url("userinfo_endpoint"), keys: keys,
        usesBasic: methods?.contains("client_secret_basic") ?? true)
    }
  }

  private func verifier(rereads: Bool) async throws -> TokenVerifier {
    let now = ContinuousClock.now
    if let keys, keys.until > now, !rereads || now - keys.askedAt < Self.patience { return try await keys.task.value }
    let task = Task {
      guard let url = try await self.known().keys else { throw LoginError.provider("it has no keys") }
      return await TokenVerifier(keys: try JWKS.keys(in: try await self.fetch(url).body))
    }
    keys = (task, now + Self.freshness, now)
    do { return try await task.value } catch {
      keys = (task, now + Self.patience, now)
      throw error
    }
  }

  // MARK: Asking

  private func ask(_ url: String, headers: [(String, String)] = [], body: [UInt8]? = nil) async throws -> JSONValue {
    let answer = try await fetch(url, headers: headers, body: body)
    guard let value = try? JSONValue(parsing: answer.body) else {
      throw LoginError.provider("\(Self.place(url)) answered with status \(answer.status) and no JSON")
    }
    guard (200..<300).contains(answer.status) else {
      let error = value["error"]?.stringValue ?? "status \(answer.status)"
      let text = "\(Self.place(url)): \(error.prefix(64))"
      throw answer.status < 500 ? LoginError.refused(text) : .provider(text)
    }
    return value
  }

  private func fetch(_ url: String, headers: [(String, String)] = [], body: [UInt8]? = nil) async throws -> HTTPAnswer {
    let fields = [("accept", "application/json"), ("user-agent", "swiftlet")] + headers
    do {
      return try await client.request(
        method: body == nil ? "GET" : "POST", url, headers: fields, body: body, timeout: Self.timeout,
        maxBody: Self.bodyLimit)
    } catch { throw LoginError.provider("\(Self.place(url)): \(error)") }
  }

  /// Without a query, which may carry secrets.
  private static func place(_ url: String) -> String { String(url.prefix { $0 != "?" }) }

  private static func form(_ fields: [(String, String)]) -> String {
    fields.map { "\($0.0)=\($0.1.pathSegment)" }.joined(separator: "&")
  }
}
