import Controller
import JSON
import Model
import REST
import Store
import SwiftletShare

/// What operators do (zrok.md 2.6).
extension ShareAPI {
  private static func text(_ body: JSONObject, _ name: String) throws -> String {
    try body.required(name, try body.string(name))
  }

  var adminCalls: [Endpoint] {
    generation == .v2 ? commonAdminCalls + accountAdminCalls + limitClassCalls + namespaceCalls : commonAdminCalls
  }

  private var commonAdminCalls: [Endpoint] {
    let core = core
    return [
      Endpoint("POST", "/account", access: .admin, "Make an account") { request, _ in
        let body = try request.object()
        let token = try await core.createAccount(
          email: try Self.text(body, "email"), password: try Self.text(body, "password"))
        return ShareForm.json(["accountToken": .string(token)], status: 201)
      },
      Endpoint("DELETE", "/account", access: .admin, "Delete an account with everything it has") { request, _ in
        try await core.deleteAccount(email: try Self.text(try request.object(), "email"))
        return ShareForm.empty()
      },
      Endpoint("POST", "/frontend", access: .admin, "Declare a public frontend") { request, _ in
        let body = try request.object()
        let mode = PermissionMode(rawValue: try body.string("permissionMode") ?? "") ?? .open
        let token = try await core.createFrontend(
          identity: try Self.text(body, "zId"), publicName: try body.string("public_name") ?? "",
          template: try body.string("url_template") ?? "",
          permissionMode: mode, dynamic: try body.bool("dynamic") ?? false)
        return ShareForm.json(["frontendToken": .string(token)], status: 201)
      },
      Endpoint("PATCH", "/frontend", access: .admin, "Change a public frontend") { request, _ in
        let body = try request.object()
        let (name, template) = (try body.string("publicName") ?? "", try body.string("urlTemplate") ?? "")
        let dynamic = try body.bool("dynamicSet") ?? false ? try body.bool("dynamic") ?? false : nil
        try await core.change(ShareFrontendRow.self, try Self.text(body, "frontendToken")) { frontend in
          if !name.isEmpty { frontend.publicName = name }
          if !template.isEmpty { frontend.urlTemplate = template }
          if let dynamic { frontend.dynamic = dynamic }
        }
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/frontend", access: .admin, "Remove a public frontend") { request, _ in
        try await core.deleteFrontend(try Self.text(try request.object(), "frontendToken"))
        return ShareForm.empty()
      },
      Endpoint("GET", "/frontends", access: .admin, "All public frontends") { _, _ in
        try await read { views in
          .array(
            try views.reader.all(ShareFrontendRow.self).map { row in
              [
                "frontendToken": .string(row.id), "zId": .string(row.zId), "urlTemplate": .string(row.urlTemplate),
                "publicName": .string(row.publicName), "permissionMode": .string(row.permissionMode.rawValue),
                "dynamic": .bool(row.dynamic),
                "createdAt": .int(row.createdAt.millisecondsSinceEpoch),
                "updatedAt": .int(row.updatedAt.millisecondsSinceEpoch),
              ]
            })
        }
      },
    ] + grant("/frontend/grant", ShareFrontendRow.self, "frontendToken", \.frontendGrants) + [
      Endpoint("POST", "/identity", access: .admin, "Make an identity for a frontend") { request, _ in
        let made = try await core.createIdentity(name: try Self.text(try request.object(), "name"))
        return ShareForm.json(
          ["identity": .string(made.identityID), "cfg": .string(Self.identityText(made))], status: 201)
      },
      Endpoint("DELETE", "/identity", access: .admin, "Delete an identity made for a frontend") { request, _ in
        try await core.deleteIdentity(try Self.text(try request.object(), "zId"))
        return ShareForm.empty()
      },
      Endpoint("POST", "/invite/token/generate", access: .admin, "Accept these invitation tokens") { request, _ in
        try await core.addInvitations(try request.object().strings("inviteTokens") ?? [])
        return ShareForm.empty(201)
      },
      Endpoint("POST", "/organization", access: .admin, "Make an organization") { request, _ in
        let row = ShareOrganization(
          id: ShareTokens.secret(), description: try request.object().string("description") ?? "")
        try await core.put(row)
        return ShareForm.json(["organizationToken": .string(row.id)], status: 201)
      },
      Endpoint("DELETE", "/organization", access: .admin, "Delete an organization; its members stay") { request, _ in
        try await core.delete(ShareOrganization.self, try Self.text(try request.object(), "organizationToken"))
        return ShareForm.empty()
      },
      Endpoint("POST", "/organization/add", access: .admin, "Make an account a member") { request, _ in
        let body = try request.object()
        try await core.setMember(
          try Self.text(body, "organizationToken"), email: try Self.text(body, "email"),
          admin: try body.bool("admin") ?? false)
        return ShareForm.empty(201)
      },
      Endpoint("POST", "/organization/remove", access: .admin, "End a membership") { request, _ in
        let body = try request.object()
        try await core.setMember(
          try Self.text(body, "organizationToken"), email: try Self.text(body, "email"), admin: nil)
        return ShareForm.empty()
      },
      Endpoint("POST", "/organization/list", access: .admin, "Members of an organization") { request, _ in
        let id = try Self.text(try request.object(), "organizationToken")
        return try await read { views in
          guard let row = try views.reader.get(ShareOrganization.self, id) else {
            throw ShareRefusal.notFound("organization \(id)")
          }
          return ["members": try Self.members(row, views.reader)]
        }
      },
      Endpoint("GET", "/organizations", access: .admin, "All organizations") { _, _ in
        try await read { views in
          let rows = try views.reader.all(ShareOrganization.self)
          return [
            "organizations": .array(
              rows.map { ["organizationToken": .string($0.id), "description": .string($0.description)] })
          ]
        }
      },
    ]
  }

  /// Gives an account a closed frontend or namespace, or takes it away.
  private func grant<E: Entity>(
    _ path: String, _ type: E.Type, _ member: String, _ list: any WritableKeyPath<ShareAccount, [String]> & Sendable
  ) -> [Endpoint] {
    let core = core
    func endpoint(_ method: String, _ summary: String, _ body: @escaping @Sendable (inout [String], String) -> Void)
      -> Endpoint
    {
      Endpoint(method, path, access: .admin, summary) { request, _ in
        let object = try request.object()
        let (token, email) = (try Self.text(object, member), try Self.text(object, "email"))
        guard try await core.network.read({ try $0.exists(E.kind, token) }) else {
          throw ShareRefusal.notFound("\(member) \(token)")
        }
        try await core.change(email: email) { body(&$0[keyPath: list], token) }
        return ShareForm.empty()
      }
    }
    return [
      endpoint("POST", "Grant an account its use") { list, token in if !list.contains(token) { list.append(token) } },
      endpoint("DELETE", "Take an account's grant away") { list, token in list.removeAll { $0 == token } },
    ]
  }

  private var accountAdminCalls: [Endpoint] {
    let core = core
    func skip(_ method: String, _ value: Bool, _ summary: String) -> Endpoint {
      Endpoint(method, "/skip-interstitial-grant", access: .admin, summary) { request, _ in
        let email = try Self.text(try request.object(), "email")
        try await core.change(email: email) { $0.skipsInterstitial = value }
        try await core.refreshInterstitials(email: email)
        return ShareForm.empty()
      }
    }
    return [
      Endpoint("PATCH", "/account", access: .admin, "Set a password") { request, _ in
        let body = try request.object()
        try await core.setPassword(email: try Self.text(body, "email"), password: try Self.text(body, "password"))
        return ShareForm.empty()
      },
      Endpoint(
        "GET", "/skip-interstitial-grant", access: .admin, "Whether an account's shares go without the warning page"
      ) { request, _ in
        let email = request.query("email") ?? ""
        return try await read {
          ["email": .string(email), "granted": .bool(try $0.reader.requireAccount(email: email).skipsInterstitial)]
        }
      },
      skip("POST", true, "No warning page in front of an account's shares"),
      skip("DELETE", false, "The warning page again"),
    ]
  }

  private var limitClassCalls: [Endpoint] {
    let core = core
    let limits = core.configuration.limits
    @Sendable func list(_ classes: [ShareLimits.LimitClass]) -> JSONValue {
      .array(classes.map { ShareViews.limitClass($0, changed: limits.changed) })
    }
    @Sendable func ids(_ body: JSONObject) throws -> [Int] {
      guard let ids = body["limitClassIds"]?.arrayValue?.map(\.intValue), ids.allSatisfy({ $0 != nil }) else {
        throw ShareRefusal(400, "limitClassIds must be a list of numbers")
      }
      return ids.compactMap { $0 }
    }
    return [
      Endpoint("POST", "/limit-class/list", access: .admin, "Limit classes, all or of one label") { request, _ in
        let label = try request.object().string("label") ?? ""
        return ShareForm.json(list(limits.classes.filter { label.isEmpty || $0.label == label }))
      },
      Endpoint("POST", "/applied-limit-class", access: .admin, "Apply limit classes to an account") { request, _ in
        let body = try request.object()
        try await core.applyLimitClasses(email: try Self.text(body, "email"), try ids(body))
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/applied-limit-class", access: .admin, "Take limit classes from an account") { request, _ in
        let body = try request.object()
        try await core.takeLimitClasses(email: try Self.text(body, "email"), try ids(body))
        return ShareForm.empty()
      },
      Endpoint("POST", "/applied-limit-class/list", access: .admin, "Limit classes of an account") { request, _ in
        let email = try Self.text(try request.object(), "email")
        return try await read { list(limits.applied(try $0.reader.requireAccount(email: email))) }
      },
    ]
  }

  private var namespaceCalls: [Endpoint] {
    let core = core
    @Sendable func mapping(_ namespace: ShareNamespace, _ frontend: ShareNamespace.Frontend) -> JSONValue {
      [
        "namespaceToken": .string(namespace.id), "frontendToken": .string(frontend.token),
        "isDefault": .bool(frontend.isDefault),
        "createdAt": .int(frontend.createdAt.secondsSinceEpoch),
      ]
    }
    return [
      Endpoint("POST", "/namespace", access: .admin, "Make a namespace") { request, _ in
        let body = try request.object()
        let token = try body.string("token") ?? ""
        var row = ShareNamespace(
          id: token.isEmpty ? ShareTokens.share() : token, name: try Self.text(body, "name").lowercased())
        row.description = try body.string("description") ?? ""
        row.open = try body.bool("open") ?? false
        try await core.createNamespace(row)
        return ShareForm.json(["namespaceToken": .string(row.id)], status: 201)
      },
      Endpoint("PATCH", "/namespace", access: .admin, "Change a namespace") { request, _ in
        let body = try request.object()
        let (name, description) = (try body.string("name") ?? "", try body.string("description") ?? "")
        let open = try body.bool("openSet") ?? false ? try body.bool("open") ?? false : nil
        try await core.change(ShareNamespace.self, try Self.text(body, "namespaceToken")) { row in
          if !name.isEmpty { row.name = name.lowercased() }
          if !description.isEmpty { row.description = description }
          if let open { row.open = open }
        }
        if !name.isEmpty { try await core.renameHosts() }
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/namespace", access: .admin, "Delete a namespace with the names in it") { request, _ in
        try await core.deleteNamespace(try Self.text(try request.object(), "namespaceToken"))
        return ShareForm.empty()
      },
      Endpoint("GET", "/namespaces", access: .admin, "All namespaces") { _, _ in
        try await read { views in
          .array(
            try views.reader.all(ShareNamespace.self).map { row in
              var object = views.namespace(row).objectValue ?? [:]
              object["open"] = .bool(row.open)
              object["createdAt"] = .int(row.createdAt.secondsSinceEpoch)
              object["updatedAt"] = .int(row.updatedAt.secondsSinceEpoch)
              return .object(object)
            })
        }
      },
      Endpoint("POST", "/namespace/frontend/mapping", access: .admin, "Serve a namespace at a frontend") { request, _ in
        let body = try request.object()
        try await core.map(
          namespace: try Self.text(body, "namespaceToken"), frontend: try Self.text(body, "frontendToken"),
          isDefault: try body.bool("isDefault") ?? false)
        return ShareForm.empty()
      },
      Endpoint("DELETE", "/namespace/frontend/mapping", access: .admin, "Serve a namespace no longer at a frontend") {
        request, _ in
        let body = try request.object()
        let frontend = try Self.text(body, "frontendToken")
        try await core.change(ShareNamespace.self, try Self.text(body, "namespaceToken")) {
          $0.frontends.removeAll { $0.token == frontend }
        }
        return ShareForm.empty()
      },
      Endpoint("GET", "/namespace/frontend/mapping/{namespace}", access: .admin, "Frontends of a namespace") {
        request, _ in
        let id = request.parameter("namespace")
        return try await read { views in
          guard let row = try views.reader.get(ShareNamespace.self, id) else {
            throw ShareRefusal.notFound("namespace \(id)")
          }
          return .array(row.frontends.map { mapping(row, $0) })
        }
      },
      Endpoint("GET", "/frontend/namespace/mapping/{frontend}", access: .admin, "Namespaces of a frontend") {
        request, _ in
        let id = request.parameter("frontend")
        return try await read { views in
          guard try views.reader.get(ShareFrontendRow.self, id) != nil else {
            throw ShareRefusal.notFound("frontend \(id)")
          }
          return .array(
            try views.reader.all(ShareNamespace.self).flatMap { row in
              row.frontends.filter { $0.token == id }.map { mapping(row, $0) }
            })
        }
      },
      Endpoint("GET", "/name/{namespace}/{name}", access: .admin, "Whose name it is") { request, _ in
        let (namespace, name) = (request.parameter("namespace"), request.parameter("name"))
        return try await read { views in
          guard let row = try views.reader.named(ShareName.self, ShareName.unique(namespace, name)) else {
            throw ShareRefusal.notFound("name \(name)")
          }
          var object = try views.name(row).objectValue ?? [:]
          object["accountEmail"] = JSONValue(try views.reader.get(ShareAccount.self, row.accountId)?.email)
          return .object(object)
        }
      },
    ] + grant("/namespace/grant", ShareNamespace.self, "namespaceToken", \.namespaceGrants)
  }
}
