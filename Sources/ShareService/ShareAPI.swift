import Controller
import JSON
import Model
import NIOCore
import REST
import Store
import SwiftletShare
import Transport

/// The REST API in both of its generations, over one implementation (zrok.md 2). Where the tables of the specification
/// name a call, it is declared here.
struct ShareAPI: Sendable {
  static let basePathV1 = "/api/v1"
  static let basePathV2 = "/api/v2"

  let core: ShareCore
  let generation: ShareViews.Generation

  static func apis(_ core: ShareCore) -> [API] {
    let dialect = APIDialect(
      authenticate: { try await caller($0, core) }, answer: { error, _ in ShareForm.answer(error) })
    return [
      API(basePaths: [basePathV1], endpoints: ShareAPI(core: core, generation: .v1).endpoints, dialect: dialect),
      API(basePaths: [basePathV2], endpoints: ShareAPI(core: core, generation: .v2).endpoints, dialect: dialect),
    ]
  }

  /// Who holds the token of an account, or a secret of the administrators.
  private static func caller(_ request: APIRequest, _ core: ShareCore) async throws -> Caller? {
    guard let token = request.header("x-token"), !token.isEmpty else { return nil }
    if let account = try await core.account(token: token) {
      return Caller(identityID: account.id, identityName: account.email, isAdmin: false, apiSessionID: "")
    }
    if core.isAdministrator(token) {
      return Caller(identityID: "", identityName: "administrator", isAdmin: true, apiSessionID: "")
    }
    // Only whoever guesses waits: behind a proxy everybody comes from one address.
    try core.count(from: peerAddress(request, trustsProxy: false))
    return nil
  }

  /// The peer's address without its port; what a proxy in front says, where that is only shown and decides nothing.
  static func peerAddress(_ request: APIRequest, trustsProxy: Bool) -> String {
    if trustsProxy, let first = request.header("x-forwarded-for")?.split(separator: ",").first {
      return String(first.drop { $0 == " " }.prefix(64))
    }
    return request.peer.remoteHost
  }

  var endpoints: [Endpoint] {
    environmentCalls + agentCalls + metadataCalls + accountCalls + adminCalls
      + (generation == .v2 ? secondGenerationCalls : firstGenerationCalls)
  }

  func read(_ body: @escaping @Sendable (ShareViews) throws -> JSONValue) async throws -> APIResponse {
    let (generation, now) = (generation, core.network.now)
    return ShareForm.json(
      try await core.network.read { try body(ShareViews(reader: $0, generation: generation, now: now)) })
  }

  /// Usage, up to this moment.
  private func usage(_ body: @escaping @Sendable (ShareViews) throws -> JSONValue) async throws -> APIResponse {
    try await core.storeUsage()
    return try await read(body)
  }

  // MARK: Environments, shares, accesses

  private var environmentCalls: [Endpoint] {
    let core = core
    let isV1 = generation == .v1
    return [
      Endpoint("POST", "/enable", "Make an environment and its identity") { request, caller in
        let body = try request.object()
        let made = try await core.enable(
          caller.identityID, description: try body.string("description") ?? "", host: try body.string("host") ?? "",
          address: Self.peerAddress(request, trustsProxy: true))
        return ShareForm.json(
          ["identity": .string(made.identityID), "cfg": .string(Self.identityText(made))], status: 201)
      },
      Endpoint("POST", "/disable", "Delete an environment with its shares and accesses") { request, caller in
        let body = try request.object()
        try await core.disable(
          caller.identityID, environment: try body.required("identity", try body.string("identity")))
        return ShareForm.empty()
      },
      Endpoint("POST", "/share", "Make a share") { request, caller in
        let made = try await core.createShare(caller.identityID, try Self.order(try request.object(), isV1: isV1))
        return ShareForm.json(
          [
            "frontendProxyEndpoints": JSONValue(made.endpoints), "shareToken": .string(made.token),
            "urls": JSONValue(made.urls),
            "warnings": JSONValue(made.warnings),
          ], status: 201)
      },
      Endpoint("PATCH", "/share", "Change who may access a share") { request, caller in
        let body = try request.object()
        try await core.updateShare(
          caller.identityID, token: try body.required("shareToken", try body.string("shareToken")),
          target: try body.string("backendProxyEndpoint"),
          add: try body.strings("addAccessGrants") ?? [], remove: try body.strings("removeAccessGrants") ?? [])
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/unshare", "Delete a share") { request, caller in
        let body = try request.object()
        try await core.unshare(
          caller.identityID, environment: try body.required("envZId", try body.string("envZId")),
          token: try body.required("shareToken", try body.string("shareToken")),
          reserved: isV1 ? try body.bool("reserved") ?? false : nil)
        return ShareForm.empty()
      },
      Endpoint("POST", "/access", "Make an access to a private share") { request, caller in
        let body = try request.object()
        let made = try await core.createAccess(
          caller.identityID, environment: try body.required("envZId", try body.string("envZId")),
          share: try body.required("shareToken", try body.string("shareToken")),
          bindAddress: try body.string("bindAddress") ?? "",
          description: try body.string("description") ?? "")
        var answer: JSONObject = [
          "frontendToken": .string(made.token), "backendMode": .string(made.backendMode.rawValue),
        ]
        if made.isWindowed { answer["windowed"] = true }
        return ShareForm.json(.object(answer), status: 201)
      },
      Endpoint("PATCH", "/access", "Record where an access listens") { request, caller in
        let body = try request.object()
        try await core.updateAccess(
          caller.identityID, token: try body.required("frontendToken", try body.string("frontendToken")),
          bindAddress: try body.string("bindAddress") ?? "", description: try body.string("description") ?? "")
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/unaccess", "Delete an access") { request, caller in
        let body = try request.object()
        try await core.deleteAccess(
          caller.identityID, environment: try body.required("envZId", try body.string("envZId")),
          token: try body.required("frontendToken", try body.string("frontendToken")),
          share: try body.required("shareToken", try body.string("shareToken")))
        return ShareForm.empty()
      },
    ]
  }

  /// The identity file that enable hands out, with the members other SDKs expect (zrok.md 2.9).
  static func identityText(_ made: ProvisioningTransaction.Credentials) -> String {
    var value: JSONObject = [
      "ztAPI": JSONValue(made.controllers.first), "ztAPIs": JSONValue(made.controllers), "configTypes": .null,
      "enableHa": false,
      "id": [
        "key": .string("pem:" + made.key), "cert": .string("pem:" + made.certificate),
        "ca": .string("pem:" + made.authorities),
      ],
    ]
    value["trustDomain"] = made.trustDomain.map { .string($0) }
    return JSONValue.object(value).text + "\n"
  }

  private static func word<W: RawRepresentable<String>>(_ body: JSONObject, _ name: String, or absent: W? = nil) throws
    -> W
  {
    let text = try body.string(name) ?? ""
    if text.isEmpty, let absent { return absent }
    guard let word = W(rawValue: text) else {
      throw APIError.field(name, "\(name) in body: '\(text.prefix(64))' is not one of its words")
    }
    return word
  }

  private static func order(_ body: JSONObject, isV1: Bool) throws -> ShareOrder {
    var order = ShareOrder(
      environment: try body.required("envZId", try body.string("envZId")), mode: try word(body, "shareMode"),
      backendMode: try word(body, "backendMode"))
    order.target = try body.string(isV1 ? "backendProxyEndpoint" : "target") ?? ""
    order.scheme = try body.string("authScheme") ?? ""
    order.permissionMode = try word(body, "permissionMode", or: .open)
    order.grants = try body.strings("accessGrants") ?? []
    order.isWindowed = try body.bool("windowed") ?? false
    order.isLeased = try body.bool("leased") ?? false
    order.provider = try body.string("oauthProvider") ?? ""
    order.emailPatterns = try body.strings("oauthEmailDomains") ?? []
    order.refreshInterval = try body.string(isV1 ? "oauthAuthorizationCheckInterval" : "oauthRefreshInterval") ?? ""
    let users = isV1 ? "authUsers" : "basicAuthUsers"
    for user in body[users]?.arrayValue ?? [] {
      guard let user = user.objectValue else {
        throw APIError.field(users, "\(users) in body must be an array of objects")
      }
      order.basicUsers.append((try user.string("username") ?? "", try user.string("password") ?? ""))
    }
    guard order.grants.count <= 256 else {
      throw APIError.field("accessGrants", "at most 256 accounts can be granted at once")
    }
    if isV1 {
      order.frontends = try body.strings("frontendSelection") ?? []
      order.reserved = try body.bool("reserved") ?? false
      order.token = try body.string("uniqueName") ?? ""
      guard order.token.isEmpty || ShareTokens.isLabel(order.token, lengths: 4...32, dash: false) else {
        throw ShareRefusal(422, "a unique name has 4 to 32 characters of a-z and 0-9")
      }
    } else {
      order.names = try names(body)
      order.token = try body.string("privateShareToken") ?? ""
    }
    return order
  }

  /// The names that a share is to have.
  static func names(_ body: JSONObject) throws -> [ShareOrder.NameSelection] {
    guard let value = body["nameSelections"], value != .null else { return [] }
    guard let selections = value.arrayValue?.map(\.objectValue), !selections.contains(nil) else {
      throw APIError.field("nameSelections", "nameSelections in body must be an array of objects")
    }
    guard selections.count <= 32 else { throw APIError.field("nameSelections", "at most 32 names for one share") }
    return try selections.compactMap { $0 }.map {
      .init(
        namespace: try $0.string("namespaceToken") ?? "", name: try $0.string("name") ?? "",
        isEphemeral: try $0.bool("ephemeral") ?? false)
    }
  }

  // MARK: Reading

  private var metadataCalls: [Endpoint] {
    let core = core
    let configuration = core.configuration
    return [
      .open("POST", "/clientVersionCheck", "Whether this server serves a client of that version") { request in
        let version = try request.object().string("clientVersion") ?? ""
        guard version.contains("v1.") || version.contains("v2.") else {
          return ShareForm.json(
            .string("this service speaks to zrok clients v1 and v2; yours says '\(version.prefix(64))'"), status: 400)
        }
        return ShareForm.empty()
      },
      .open("GET", "/configuration", "What strangers may know of this service") { _ in
        ShareForm.json([
          "version": .string(ZrokVersion.spoken), "touLink": "", "newAccountLink": "",
          "invitesOpen": .bool(configuration.invitesOpen),
          "requiresInviteToken": .bool(configuration.invitesNeedToken), "inviteTokenContact": "",
        ])
      },
      .open("GET", "/version", "For clients too old for this service") { _ in
        ShareForm.json("your zrok client is too old for this service; install version 1.0 or newer")
      },
      .open("GET", "/versions", "The version of the service") { _ in
        ShareForm.json(["controllerVersion": .string(ZrokVersion.spoken)])
      },
      Endpoint("GET", "/overview", "Everything the account has") { _, caller in
        try await read { try $0.overview(try $0.reader.account(caller.identityID)) }
      },
      Endpoint(
        "GET", "/overview/{organization}/{email}", "What a member of an organization has, for its administrators"
      ) { request, caller in
        let (organization, email) = (request.parameter("organization"), request.parameter("email"))
        return try await read { views in
          guard let row = try views.reader.get(ShareOrganization.self, organization),
            row.members.contains(where: { $0.accountId == caller.identityID && $0.admin }),
            let account = try views.reader.account(email: email),
            row.members.contains(where: { $0.accountId == account.id })
          else { throw ShareRefusal(404) }
          return try views.overview(account)
        }
      },
      Endpoint("GET", "/detail/account", "The account's environments") { _, caller in
        try await read { views in .array(try views.environments(caller.identityID).map(views.environment)) }
      },
      Endpoint("GET", "/detail/environment/{id}", "An environment") { request, caller in
        let id = request.parameter("id")
        return try await read { views in
          guard let row = try views.reader.get(ShareEnvironmentRow.self, id), row.accountId == caller.identityID else {
            throw ShareRefusal.notFound("environment \(id)")
          }
          return try views.resources(row)
        }
      },
      Endpoint("GET", "/detail/share/{token}", "A share of the account") { request, caller in
        let token = request.parameter("token")
        return try await read { views in
          // Its host learns that nobody meant it to end.
          if try views.reader.wasTakenBack(token, of: caller.identityID, now: views.now) {
            throw ShareRefusal(410, "share \(token) was taken back: nobody had served it for a while")
          }
          return try views.share(try views.reader.share(token, of: caller.identityID))
        }
      },
      Endpoint("GET", "/detail/frontend/{id}", "An access of the account") { request, caller in
        let number = Int(request.parameter("id"))
        return try await read { views in
          // Of the caller's own machines: nobody's question costs what all have.
          let own = try views.environments(caller.identityID).flatMap { try views.accesses($0.id) }
          guard let row = own.first(where: { $0.number == number }) else { throw ShareRefusal(404) }
          return views.access(row)
        }
      },
      Endpoint("GET", "/memberships", "Organizations of the account") { _, caller in
        try await read { views in
          let memberships = try views.reader.all(ShareOrganization.self).compactMap { row -> JSONValue? in
            guard let member = row.members.first(where: { $0.accountId == caller.identityID }) else { return nil }
            return [
              "organizationToken": .string(row.id), "description": .string(row.description),
              "admin": .bool(member.admin),
            ]
          }
          return ["memberships": .array(memberships)]
        }
      },
      Endpoint("GET", "/members/{organization}", "Members of an organization, for its administrators") {
        request, caller in
        let id = request.parameter("organization")
        return try await read { views in
          guard let row = try views.reader.get(ShareOrganization.self, id),
            row.members.contains(where: { $0.accountId == caller.identityID && $0.admin })
          else { throw ShareRefusal(404) }
          return ["members": try Self.members(row, views.reader)]
        }
      },
      Endpoint("GET", "/metrics/account", "Traffic of the account") { request, caller in
        let seconds = try Self.duration(request)
        return try await usage {
          try $0.metrics(scope: "account", id: caller.identityName, ("accountId", caller.identityID), seconds: seconds)
        }
      },
      Endpoint("GET", "/metrics/environment/{id}", "Traffic of an environment") { request, caller in
        let id = request.parameter("id")
        let seconds = try Self.duration(request)
        return try await usage { views in
          _ = try views.reader.environment(id, of: caller.identityID)
          return try views.metrics(scope: "environment", id: id, ("environmentId", id), seconds: seconds)
        }
      },
      Endpoint("GET", "/metrics/share/{token}", "Traffic of a share") { request, caller in
        let token = request.parameter("token")
        let seconds = try Self.duration(request)
        return try await usage { views in
          _ = try views.reader.share(token, of: caller.identityID)
          return try views.metrics(scope: "share", id: token, ("shareToken", token), seconds: seconds)
        }
      },
      Endpoint("POST", "/sparklines", "Traffic of the last five minutes") { request, caller in
        let body = try request.object()
        let account = try body.bool("account") ?? false
        let (environments, shares) = (try body.strings("environments") ?? [], try body.strings("shares") ?? [])
        return try await usage { views in
          var lines: [JSONValue] = []
          func add(_ scope: String, _ id: String, _ field: (String, String)) throws {
            lines.append(try views.metrics(scope: scope, id: id, field, seconds: 300))
          }
          if account { try add("account", caller.identityName, ("accountId", caller.identityID)) }
          for id in environments.prefix(256) where (try? views.reader.environment(id, of: caller.identityID)) != nil {
            try add("environment", id, ("environmentId", id))
          }
          for token in shares.prefix(256) where (try? views.reader.share(token, of: caller.identityID)) != nil {
            try add("share", token, ("shareToken", token))
          }
          return ["sparklines": .array(lines)]
        }
      },
    ]
  }

  static func members(_ row: ShareOrganization, _ reader: StoreReader) throws -> JSONValue {
    .array(
      try row.members.compactMap { member in
        try reader.get(ShareAccount.self, member.accountId).map {
          ["email": .string($0.email), "admin": .bool(member.admin)]
        }
      })
  }

  /// What metrics are asked for, in seconds; thirty days where nothing is said.
  private static func duration(_ request: APIRequest) throws -> Int {
    try ShareListFilter.duration(request, "duration", or: .hours(720))
  }

  private var firstGenerationCalls: [Endpoint] {
    let core = core
    return [
      Endpoint("GET", "/overview/public-frontends", "Frontends the account may use") { _, caller in
        try await read { views in
          let account = try views.reader.account(caller.identityID)
          let usable = try views.reader.all(ShareFrontendRow.self).filter {
            $0.permissionMode == .open || account.frontendGrants.contains($0.id)
          }
          return [
            "publicFrontends": .array(
              usable.map { ["publicName": .string($0.publicName), "urlTemplate": .string($0.urlTemplate)] })
          ]
        }
      },
      Endpoint("POST", "/grants", access: .admin, "Brings the shares of an account in line with its grants") {
        request, _ in
        let body = try request.object()
        try await core.refreshInterstitials(email: try body.required("email", try body.string("email")))
        return ShareForm.empty()
      },
    ]
  }

  private var secondGenerationCalls: [Endpoint] {
    let core = core
    return [
      Endpoint("POST", "/share/name", "Reserve a name") { request, caller in
        let body = try request.object()
        try await core.createName(
          caller.identityID, namespace: try body.string("namespaceToken") ?? "",
          name: try body.required("name", try body.string("name")))
        return ShareForm.empty(201)
      },
      Endpoint("PATCH", "/share/name", "Keep a name, or let it go with its share") { request, caller in
        let body = try request.object()
        try await core.updateName(
          caller.identityID, namespace: try body.string("namespaceToken") ?? "",
          name: try body.required("name", try body.string("name")),
          reserved: try body.bool("reserved") ?? false)
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/share/name", "Release a name") { request, caller in
        let body = try request.object()
        try await core.deleteName(
          caller.identityID, namespace: try body.string("namespaceToken") ?? "",
          name: try body.required("name", try body.string("name")))
        return ShareForm.empty()
      },
      Endpoint("GET", "/share/names", "Names of the account") { _, caller in
        try await read { .array(try $0.names(try $0.reader.account(caller.identityID))) }
      },
      Endpoint("GET", "/share/names/{namespace}", "Names of the account in a namespace") { request, caller in
        let id = request.parameter("namespace")
        return try await read { views in
          let account = try views.reader.account(caller.identityID)
          let namespace = try ShareCore.usableNamespace(id, account, views.reader, or: ShareCore.namesRefusals)
          return .array(try views.names(account, namespace: namespace.id))
        }
      },
      Endpoint("GET", "/share/namespaces", "Namespaces the account may use") { _, caller in
        try await read { .array(try $0.namespaces(try $0.reader.account(caller.identityID))) }
      },
      Endpoint("GET", "/environments", "Environments, filtered") { request, caller in
        let filter = try ShareListFilter(request)
        return try await usage { views in
          let rows = try views.environments(caller.identityID).compactMap { row -> JSONValue? in
            let shares = try views.shares(row.id).count
            let accesses = try views.accesses(row.id).count
            let isRemote = try views.isEnrolled(row.id)
            guard filter.contains("description", row.description), filter.contains("host", row.host),
              filter.equals("address", row.address),
              filter.flag("remoteAgent", isRemote), filter.flag("hasShares", shares > 0),
              filter.flag("hasAccesses", accesses > 0),
              filter.count("shareCount", shares), filter.count("accessCount", accesses), filter.times(row),
              try filter.activity("environmentId", row.id, views)
            else { return nil }
            return [
              "envZId": .string(row.id), "description": .string(row.description), "host": .string(row.host),
              "address": .string(row.address),
              "remoteAgent": .bool(isRemote), "shareCount": JSONValue(shares), "accessCount": JSONValue(accesses),
              "limited": .bool(views.isLimited(account: row.accountId)),
              "createdAt": .int(row.createdAt.millisecondsSinceEpoch),
              "updatedAt": .int(row.updatedAt.millisecondsSinceEpoch),
            ]
          }
          return ["environments": .array(rows)]
        }
      },
      Endpoint("GET", "/shares", "Shares, filtered") { request, caller in
        let filter = try ShareListFilter(request)
        return try await usage { views in
          let rows = try views.environments(caller.identityID).flatMap { try views.shares($0.id) }.filter { row in
            try filter.equals("envZId", row.environmentId) && filter.equals("shareMode", row.mode.rawValue)
              && filter.equals("backendMode", row.backendMode.rawValue) && filter.contains("shareToken", row.token)
              && filter.contains("target", row.target) && filter.equals("permissionMode", row.permissionMode.rawValue)
              && filter.times(row) && filter.activity("shareToken", row.token, views)
          }
          return ["shares": .array(try rows.map { try views.share($0, withActivity: false) })]
        }
      },
      Endpoint("GET", "/accesses", "Accesses, filtered") { request, caller in
        let filter = try ShareListFilter(request)
        return try await read { views in
          let rows = try views.environments(caller.identityID).flatMap { try views.accesses($0.id) }.filter { row in
            filter.equals("envZId", row.environmentId) && filter.contains("shareToken", row.shareToken)
              && filter.contains("bindAddress", row.bindAddress) && filter.contains("description", row.description)
              && filter.times(row)
          }
          return [
            "accesses": .array(
              rows.map { row in
                var object = views.access(row).objectValue ?? [:]
                object["zId"] = nil
                object["envZId"] = .string(row.environmentId)
                object["limited"] = .bool(row.dialPolicyId.isEmpty)
                return .object(object)
              })
          ]
        }
      },
    ]
  }

  // MARK: Accounts

  private var accountCalls: [Endpoint] {
    let core = core
    return [
      .open("POST", "/login", "Sign in with a password") { request in
        let body = try request.object()
        return ShareForm.json(
          .string(
            try await core.logIn(
              email: try body.string("email") ?? "", password: try body.string("password") ?? "",
              from: Self.peerAddress(request, trustsProxy: false))))
      },
      .open("POST", "/invite", "Ask for an account") { request in
        let body = try request.object()
        try await core.invite(
          email: try body.string("email") ?? "", token: try body.string("inviteToken"),
          from: Self.peerAddress(request, trustsProxy: false))
        return ShareForm.empty(201)
      },
      .open("POST", "/verify", "The address a registration is for") { request in
        let token = try request.object().string("registerToken") ?? ""
        return ShareForm.json([
          "email": .string(
            try await core.verify(registration: token, from: Self.peerAddress(request, trustsProxy: false)))
        ])
      },
      .open("POST", "/register", "Make the account of a registration") { request in
        let body = try request.object()
        let token = try await core.register(
          registration: try body.string("registerToken") ?? "", password: try body.string("password") ?? "",
          from: Self.peerAddress(request, trustsProxy: false))
        return ShareForm.json(["accountToken": .string(token)])
      },
      .open("POST", "/resetPasswordRequest", "Ask for a new password") { request in
        try await core.requestReset(
          email: try request.object().string("emailAddress") ?? "", from: Self.peerAddress(request, trustsProxy: false))
        return ShareForm.empty(201)
      },
      .open("POST", "/resetPassword", "Set a new password") { request in
        let body = try request.object()
        try await core.resetPassword(
          try body.string("resetToken") ?? "", password: try body.string("password") ?? "",
          from: Self.peerAddress(request, trustsProxy: false))
        return ShareForm.empty()
      },
      Endpoint("POST", "/changePassword", "Change the password") { request, caller in
        let body = try request.object()
        guard try body.string("email")?.lowercased() == caller.identityName else {
          throw ShareRefusal(400, "the address is not this account's")
        }
        try await core.changePassword(
          caller.identityID, old: try body.string("oldPassword") ?? "", new: try body.string("newPassword") ?? "",
          from: Self.peerAddress(request, trustsProxy: false))
        return ShareForm.empty()
      },
      Endpoint("POST", "/regenerateAccountToken", "Replace the account token") { request, caller in
        let email = try request.object().string("emailAddress") ?? ""
        return ShareForm.json(["accountToken": .string(try await core.regenerateToken(caller.identityID, email: email))]
        )
      },
    ]
  }
}
