public import NIOCore
public import Transport

/// How visitors of a public share sign in with an account they have elsewhere (zrok.md 4.5, 4.7).
public struct LoginConfiguration: Sendable {
  /// Who vouches for a visitor's e-mail address.
  public struct Provider: Sendable {
    public enum Kind: Sendable {
      /// OpenID Connect. `discovery` is nil where the document is at its usual place below the issuer.
      case oidc(issuer: String, discovery: String?)
      /// GitHub, or an enterprise server of it: `https://github.com`.
      case github(url: String)
    }

    /// Named by shares; a segment of URLs.
    public var name: String
    public var kind: Kind
    public var clientID: String
    /// Empty for a client that proves itself with PKCE alone.
    public var clientSecret: String
    public var scopes: [String]
    public var usesPKCE = true
    /// Sent to an OpenID provider with each request: `login`, `consent`, `select_account`.
    public var prompt: String?
    /// Believes addresses of which the provider does not say that it checked them. Only for providers where people
    /// cannot choose their address.
    public var allowsUnverifiedEmail = false
    /// PEM file of the roots that the provider's certificate comes from; nil takes the system's.
    public var roots: String?

    public init(name: String, kind: Kind, clientID: String, clientSecret: String, scopes: [String]? = nil) {
      self.name = name
      self.kind = kind
      self.clientID = clientID
      self.clientSecret = clientSecret
      self.scopes = scopes ?? Self.defaultScopes(kind)
    }

    static func defaultScopes(_ kind: Kind) -> [String] {
      switch kind {
      case .oidc: ["openid", "email"]
      case .github: ["user:email"]
      }
    }

    /// Where the browser comes back to, below the login's URL.
    var callbackPath: String { "/\(name)/auth/callback" }
  }

  /// What a browser reaches the frontend at, to sign in: scheme, host, port. Shares have the same scheme and port.
  public struct Origin: Sendable, Equatable {
    public let isTLS: Bool
    /// Lower case.
    public let host: String
    /// Empty, or `:8443`.
    public let port: String

    /// - Returns: nil for text that is not `http(s)://host[:port]`.
    public init?(_ url: String) {
      guard let parts = ServerURL(url), parts.target == "/", parts.place.port > 0,
        parts.place.host.utf8.allSatisfy({
          $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") || (48...57).contains($0) || (97...122).contains($0 | 0x20)
        })
      else { return nil }
      isTLS = parts.isTLS
      host = parts.place.host.lowercased()
      port = parts.place.port == (isTLS ? 443 : 80) ? "" : ":\(parts.place.port)"
    }

    func url(_ host: String? = nil, _ path: String) -> String {
      "\(isTLS ? "https" : "http")://\(host ?? self.host)\(port)\(path)"
    }
  }

  public static let defaultCookieName = "zrok-auth-session"

  public var origin: Origin
  public var cookieName = Self.defaultCookieName
  /// How long a visitor stays signed in at most; a share may ask for less.
  public var sessionLifetime = TimeAmount.hours(24)
  /// How long a visitor may take to sign in.
  public var intermediateLifetime = TimeAmount.minutes(5)
  /// Secrets that sessions are sealed with; empty takes one that the service makes and keeps.
  public var secret = ""
  public var providers: [Provider]

  public init(origin: Origin, providers: [Provider]) {
    self.origin = origin
    self.providers = providers
  }

  /// The provider shares call `name`.
  func provider(_ name: String) -> Provider? { providers.first { $0.name == name } }

  // MARK: File

  /// Reads the `oauth` section of a file; it may be a whole configuration of upstream's frontend, whose other sections
  /// say nothing here.
  /// - Throws: `ConfigurationError`.
  public static func load(path: String) throws(ConfigurationError) -> LoginConfiguration {
    try read(StrictDocument(path: path))
  }

  /// - Parameter file: how errors name the text.
  public static func parse(_ text: String, file: String) throws(ConfigurationError) -> LoginConfiguration {
    try read(StrictDocument(text: text, file: file))
  }

  private static func read(_ document: StrictDocument) throws(ConfigurationError) -> LoginConfiguration {
    document.root.accept(
      "v", "identity", "address", "bind_address", "host_match", "frontend_token", "template_path",
      "mapping_refresh_interval", "amqp_subscriber",
      "controller", "interstitial", "tls")
    guard let section = try document.root.section("oauth") else { throw document.root.missing("oauth") }
    // One listener serves shares and logins; cookies are small and belong to one host.
    section.accept("bind_address", "cookie_domain", "max_cookie_size", "max_cookie_chunks")
    let url = try section.required("endpoint_url")
    guard let origin = Origin(url) else {
      throw section.error("endpoint_url", "'\(url)' is not of the form https://host[:port]")
    }
    var providers: [Provider] = []
    for item in try section.sections("providers") ?? [] {
      let provider = try Self.provider(item)
      guard !providers.contains(where: { $0.name == provider.name }) else {
        throw item.error("name", "two providers are called \(provider.name)")
      }
      providers.append(provider)
    }
    guard !providers.isEmpty else { throw section.missing("providers") }
    var configuration = LoginConfiguration(origin: origin, providers: providers)
    if let name = try section.string("cookie_name") {
      guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(isNameByte) else {
        throw section.error("cookie_name", "1 to 64 letters, digits, - and _")
      }
      configuration.cookieName = name
    }
    configuration.sessionLifetime = try lifetime(section, "session_lifetime") ?? configuration.sessionLifetime
    configuration.intermediateLifetime =
      try lifetime(section, "intermediate_lifetime") ?? configuration.intermediateLifetime
    configuration.secret = (try section.string("signing_key") ?? "") + (try section.string("encryption_key") ?? "")
    guard configuration.secret.isEmpty || configuration.secret.utf8.count >= 32 else {
      throw section.error(
        "encryption_key", "signing_key and encryption_key have at least 32 bytes together, or are left out")
    }
    try document.finish()
    return configuration
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || (48...57).contains(byte)
      || (97...122).contains(byte | 0x20)
  }

  private static func lifetime(_ section: StrictSection, _ key: String) throws(ConfigurationError) -> TimeAmount? {
    guard let amount = try section.duration(key) else { return nil }
    guard amount >= .seconds(30), amount <= .hours(24 * 365) else { throw section.error(key, "from 30s to a year") }
    return amount
  }

  private static func provider(_ section: StrictSection) throws(ConfigurationError) -> Provider {
    let name = try section.required("name")
    guard name.utf8.count <= 64, name.utf8.allSatisfy(isNameByte) else {
      throw section.error("name", "letters, digits, - and _, at most 64")
    }
    let kind: Provider.Kind
    switch try section.required("type") {
    case "google":
      section.accept("issuer", "discovery_url")
      kind = .oidc(issuer: "https://accounts.google.com", discovery: nil)
    case "oidc":
      kind = .oidc(
        issuer: try endpoint(section, "issuer", try section.required("issuer")),
        discovery: try endpoint(section, "discovery_url"))
    case "github": kind = .github(url: try endpoint(section, "url") ?? "https://github.com")
    case let other: throw section.error("type", "'\(other)' is none of google, github and oidc")
    }
    var provider = Provider(
      name: name, kind: kind, clientID: try section.required("client_id"),
      clientSecret: try section.string("client_secret") ?? "",
      scopes: try section.list("scopes"))
    for key in ["supports_pkce", "pkce"] { if let uses = try section.bool(key) { provider.usesPKCE = uses } }
    provider.prompt = try section.string("prompt")
    provider.allowsUnverifiedEmail = try section.bool("allow_unverified_email") ?? false
    provider.roots = try section.string("ca")
    return provider
  }

  private static func endpoint(_ section: StrictSection, _ key: String) throws(ConfigurationError) -> String? {
    guard let text = try section.string(key) else { return nil }
    return try endpoint(section, key, text)
  }

  /// An address of a provider: what is read there decides who a visitor is, so nobody may change it on the way.
  private static func endpoint(_ section: StrictSection, _ key: String, _ text: String) throws(ConfigurationError)
    -> String
  {
    guard LoginProvider.isProtected(text) else { throw section.error(key, "'\(text)' must begin with https://") }
    return text.hasSuffix("/") && key == "url" ? String(text.dropLast()) : text
  }
}
