public import ShareFrontend

/// How a share service runs.
public struct ShareConfiguration: Sendable {
  /// Where identities and keys of the service are kept, mode 0700.
  public var directory: String
  public var api: ShareListener
  public var frontend: ShareListener
  /// Whether this process is a public frontend too; elsewhere `StandaloneFrontend` may be. Of `frontend`, URLs are made
  /// of either way.
  public var servesFrontend = true
  /// The zone of public shares: a share is reached at `<name>.<zone>`.
  public var zone: String
  /// Strings that open the administrative calls, sent as `x-token`.
  public var adminSecrets: [String] = []
  public var limits = ShareLimits()
  /// Anyone may ask for an account.
  public var invitesOpen = false
  public var invitesNeedToken = false
  /// Frontends of upstream check basic authentication from the service's config, where passwords stand in clear; ours
  /// keep hashes.
  public var upstreamFrontends = false
  /// Ports for public TCP and for public UDP shares; nil allows none.
  public var tcpPorts: ClosedRange<Int>?
  public var udpPorts: ClosedRange<Int>?
  /// How mail is sent: registration and reset links, and word of bandwidth limits. Without it the tokens go to the log.
  public var mail: ShareMail?
  /// URL of the page for account holders, for links in mail.
  public var pageURL = ""
  /// Where visitors of shares can sign in; nil offers no such shares.
  public var login: LoginConfiguration?
  /// Agents whose owners enrolled them take orders of the API.
  public var remotesAgents = false
  /// A warning page before a visitor's first look at someone's share.
  public var interstitial = false

  public init(directory: String, api: ShareListener, frontend: ShareListener, zone: String) {
    self.directory = directory
    self.api = api
    self.frontend = frontend
    self.zone = zone
  }

  /// The scheme of public URLs.
  var scheme: String { frontend.identity == nil ? "http" : "https" }
}
