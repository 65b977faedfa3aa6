import ArgumentParser
import Foundation
import JSON
import Model
import SwiftletShare
import Transport

struct ShareAdminCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "admin",
    abstract: "Administer a share service: accounts, frontends, namespaces, grants, organizations, limits.",
    discussion: """
      The operator's token is in ZROK2_ADMIN_TOKEN, or in the file of --token-file; 'swiftlet share serve' keeps it in admin-token in its
      directory.

      Examples:
        swiftlet share admin create account ann@example.com
        swiftlet share admin create namespace share.example.com --description 'for everybody' --open
        swiftlet share admin create namespace-grant NAMESPACE ann@example.com
        swiftlet share admin list namespaces
        swiftlet share admin delete account ann@example.com
      """,
    subcommands: [
      ShareAdminCreateCommand.self, ShareAdminDeleteCommand.self, ShareAdminListCommand.self,
      ShareAdminUpdateCommand.self,
    ])
}

struct ShareAdminOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "File with the operator's token. Default: ZROK2_ADMIN_TOKEN, then ./swiftlet-share/admin-token.",
      valueName: "file"))
  var tokenFile: String?

  @OptionGroup var service: ShareServiceOptions

  func administrator() throws -> ShareAdministrator {
    let variables = ProcessInfo.processInfo.environment
    let variable = ["ZROK2_ADMIN_TOKEN", "ZROK_ADMIN_TOKEN"].compactMap { variables[$0] }.first { !$0.isEmpty }
    let local = "./swiftlet-share/admin-token"
    let secret: String
    if let tokenFile {
      secret = String(decoding: try PrivateFile.read(tokenFile, what: "the operator's token in"), as: UTF8.self)
    } else if let variable {
      secret = variable
    } else if FileManager.default.fileExists(atPath: local) {
      secret = String(decoding: try PrivateFile.read(local, what: "the operator's token in"), as: UTF8.self)
    } else {
      throw CommandFailure("no operator's token", next: "give --token-file, or set ZROK2_ADMIN_TOKEN")
    }
    return try service.administrator(secret: secret.trimmingCharacters(in: .whitespacesAndNewlines))
  }
}

/// What operators make and delete: the words of a command as members of a call (zrok.md 2.6).
enum ShareAdminNoun: String, CaseIterable, ExpressibleByArgument {
  case account, frontend, identity, namespace, organization
  case frontendGrant = "frontend-grant"
  case namespaceGrant = "namespace-grant"
  case namespaceFrontend = "namespace-frontend"
  case organizationMember = "org-member"
  case limitClasses = "applied-limit-classes"
  case skipInterstitial = "skip-interstitial-grant"

  var path: String {
    switch self {
    case .account, .frontend, .identity, .namespace, .organization: "/" + rawValue
    case .frontendGrant: "/frontend/grant"
    case .namespaceGrant: "/namespace/grant"
    case .namespaceFrontend: "/namespace/frontend/mapping"
    case .organizationMember: "/organization/add"
    case .limitClasses: "/applied-limit-class"
    case .skipInterstitial: "/skip-interstitial-grant"
    }
  }

  /// Members that a creation takes, in the order of the words; those in brackets may be missing.
  fileprivate var creation: [String] {
    switch self {
    case .account: ["email"]
    case .frontend: ["zId", "public_name", "[url_template]"]
    case .identity: ["name"]
    case .namespace: ["name"]
    case .organization: ["[description]"]
    case .frontendGrant, .namespaceGrant, .namespaceFrontend, .organizationMember, .limitClasses, .skipInterstitial:
      deletion
    }
  }

  fileprivate var deletion: [String] {
    switch self {
    case .account, .skipInterstitial: ["email"]
    case .frontend: ["frontendToken"]
    case .identity: ["zId"]
    case .namespace: ["namespaceToken"]
    case .organization: ["organizationToken"]
    case .frontendGrant: ["frontendToken", "email"]
    case .namespaceGrant: ["namespaceToken", "email"]
    case .namespaceFrontend: ["namespaceToken", "frontendToken"]
    case .organizationMember: ["organizationToken", "email"]
    case .limitClasses: ["email", "limitClassIds..."]
    }
  }

  /// One line for each noun, for the help.
  fileprivate static func usage(_ members: KeyPath<ShareAdminNoun, [String]>) -> String {
    allCases.map { "  \($0.rawValue) \($0[keyPath: members].joined(separator: " "))" }.joined(separator: "\n")
  }

  fileprivate func body(_ members: [String], _ words: [String]) throws -> JSONObject {
    var body: JSONObject = [:]
    var rest = words[...]
    for member in members {
      if member.hasSuffix("...") {
        let ids = rest.map { Int($0) }
        guard !ids.isEmpty, ids.allSatisfy({ $0 != nil }) else {
          throw CommandFailure("classes are given by number", next: "see: swiftlet share admin list limit-classes")
        }
        body[String(member.dropLast(3))] = .array(ids.compactMap { $0.map { JSONValue($0) } })
        rest = []
      } else if let word = rest.popFirst() {
        body[member.trimmingCharacters(in: ["[", "]"])] = .string(word)
      } else if !member.hasPrefix("[") {
        throw CommandFailure(
          "'\(rawValue)' lacks \(member)", next: "write: \(rawValue) \(members.joined(separator: " "))")
      }
    }
    guard rest.isEmpty else {
      throw CommandFailure(
        "'\(rest.joined(separator: " "))' is too much", next: "write: \(rawValue) \(members.joined(separator: " "))")
    }
    return body
  }
}

struct ShareAdminCreateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make something, or grant it.",
    discussion: """
      What there is to make:
      \(ShareAdminNoun.usage(\.creation))

      Examples:
        swiftlet share admin create account ann@example.com
        swiftlet share admin create identity second-frontend -o frontend.json
        swiftlet share admin create frontend ZID second 'https://{token}.second.example.com' --closed
        swiftlet share admin create org-member ORGANIZATION ann@example.com --admin
        swiftlet share admin create applied-limit-classes ann@example.com 1 2
      """)

  @Argument(help: "What to make.")
  var noun: ShareAdminNoun

  @Argument(help: "Its values.")
  var values: [String] = []

  @OptionGroup var password: NewPasswordOptions

  @Flag(help: "frontend: only for accounts with a grant.")
  var closed = false

  @Flag(help: "frontend: learns of names while it runs.")
  var dynamic = false

  @Flag(help: "namespace: for every account.")
  var open = false

  @Option(help: ArgumentHelp("namespace: its token. Default: one made up.", valueName: "token"))
  var token: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("namespace, organization: what people see.", valueName: "text"))
  var description: String?

  @Flag(name: .customLong("default"), help: "namespace-frontend: the frontend of names that say none.")
  var isDefault = false

  @Flag(help: "org-member: may read what the members have.")
  var admin = false

  @Option(
    name: .shortAndLong, help: ArgumentHelp("identity: where to write it. Default: NAME.json.", valueName: "file"))
  var output: String?

  @OptionGroup var options: ShareAdminOptions

  func run() async throws {
    var body = try noun.body(noun.creation, values)
    switch noun {
    case .account: body["password"] = .string(try password.password(values[0]))
    case .frontend:
      body["permissionMode"] = closed ? "closed" : "open"
      body["dynamic"] = .bool(dynamic)
    case .namespace:
      body["open"] = .bool(open)
      if let token { body["token"] = .string(token) }
      if let description { body["description"] = .string(description) }
    case .organization: if let description { body["description"] = .string(description) }
    case .namespaceFrontend: body["isDefault"] = .bool(isDefault)
    case .organizationMember: body["admin"] = .bool(admin)
    case .identity, .frontendGrant, .namespaceGrant, .limitClasses, .skipInterstitial: break
    }
    let answer: JSONValue
    do { answer = try await options.administrator().call("make the \(noun.rawValue)", "POST", noun.path, body) } catch {
      throw CommandFailure("cannot make the \(noun.rawValue)", error)
    }
    if noun == .identity, let text = answer["cfg"]?.stringValue {
      let file = output ?? values[0] + ".json"
      try PrivateFile.write(text, to: file)
      Terminal.error.line("The identity is in \(file).")
    }
    for member in ["accountToken", "frontendToken", "identity", "namespaceToken", "organizationToken"] {
      if let text = answer[member]?.stringValue { Terminal.output.line(text) }
    }
  }
}

struct ShareAdminDeleteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete something, or take a grant away.",
    discussion: """
      What there is to delete:
      \(ShareAdminNoun.usage(\.deletion))

      Examples:
        swiftlet share admin delete account ann@example.com
        swiftlet share admin delete namespace-grant NAMESPACE ann@example.com
        swiftlet share admin delete namespace NAMESPACE --yes
      """, aliases: ["rm"])

  @Argument(help: "What to delete.")
  var noun: ShareAdminNoun

  @Argument(help: "Its values.")
  var values: [String] = []

  @Flag(name: .shortAndLong, help: "namespace: do not ask.")
  var yes = false

  @OptionGroup var options: ShareAdminOptions

  func run() async throws {
    let body = try noun.body(noun.deletion, values)
    if noun == .namespace, !yes, isatty(STDIN_FILENO) != 0,
      !Terminal.confirms(
        "Every name that accounts have in \(values.joined()) goes with it, and shares are no longer found there. Go on?"
      )
    {
      throw CommandFailure("the namespace was not deleted", next: "say yes, or give --yes")
    }
    // The one that is no DELETE.
    let (method, path) = noun == .organizationMember ? ("POST", "/organization/remove") : ("DELETE", noun.path)
    do { _ = try await options.administrator().call("delete the \(noun.rawValue)", method, path, body) } catch {
      throw CommandFailure("cannot delete the \(noun.rawValue)", error)
    }
    Terminal.error.line("Deleted.")
  }
}

struct ShareAdminListCommand: AsyncParsableCommand {
  enum Listing: String, CaseIterable, ExpressibleByArgument {
    case frontends, namespaces, organizations
    case namespaceFrontends = "namespace-frontends"
    case frontendNamespaces = "frontend-namespaces"
    case members = "org-members"
    case limitClasses = "limit-classes"
    case appliedLimitClasses = "applied-limit-classes"
  }

  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List what there is.",
    discussion: """
      Lists: \(Listing.allCases.map(\.rawValue).joined(separator: ", "))

      Examples:
        swiftlet share admin list frontends
        swiftlet share admin list namespace-frontends NAMESPACE
        swiftlet share admin list org-members ORGANIZATION
        swiftlet share admin list applied-limit-classes ann@example.com
      """, aliases: ["ls"])

  @Argument(help: "What to list.")
  var listing: Listing

  @Argument(help: "Of which namespace, frontend, organization, label or account.")
  var value: String?

  @Flag(help: "As the service answers, in JSON.")
  var json = false

  @OptionGroup var options: ShareAdminOptions

  func run() async throws {
    let answer: JSONValue
    do {
      let (method, path, body) = try call()
      answer = try await options.administrator().call("list the \(listing.rawValue)", method, path, body)
    } catch {
      throw CommandFailure("cannot list the \(listing.rawValue)", error)
    }
    let out = Terminal.output
    if json { return out.line(answer.text) }
    let rows = (answer["organizations"] ?? answer["members"] ?? answer).arrayValue?.compactMap(\.objectValue) ?? []
    guard let first = rows.first else { return Terminal.error.line("None.") }
    let columns = first.keys.filter { !["createdAt", "updatedAt"].contains($0) }.sorted {
      ($0.hasSuffix("oken") ? 0 : 1, $0) < ($1.hasSuffix("oken") ? 0 : 1, $1)
    }
    var table = Table(headers: columns, alignments: columns.map { _ in .left })
    for row in rows { table.rows.append(columns.map { CellText.clean(Self.text(row[$0])) }) }
    out.line(table.text)
  }

  private static func text(_ value: JSONValue?) -> String {
    switch value {
    case nil, .null?: ""
    case .string(let text)?: text
    case let value?: value.text
    }
  }

  private func required() throws -> String {
    guard let value else {
      throw CommandFailure("which one?", next: "swiftlet share admin list \(listing.rawValue) VALUE")
    }
    return value
  }

  private func call() throws -> (method: String, path: String, body: JSONObject?) {
    switch listing {
    case .frontends, .namespaces, .organizations: ("GET", "/" + listing.rawValue, nil)
    case .namespaceFrontends: ("GET", "/namespace/frontend/mapping/" + (try required()).pathSegment, nil)
    case .frontendNamespaces: ("GET", "/frontend/namespace/mapping/" + (try required()).pathSegment, nil)
    case .members: ("POST", "/organization/list", ["organizationToken": .string(try required())])
    case .limitClasses: ("POST", "/limit-class/list", ["label": .string(value ?? "")])
    case .appliedLimitClasses: ("POST", "/applied-limit-class/list", ["email": .string(try required())])
    }
  }
}

struct ShareAdminUpdateCommand: AsyncParsableCommand {
  enum Subject: String, CaseIterable, ExpressibleByArgument { case frontend, namespace, password }

  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Change a frontend, a namespace, or an account's password.",
    discussion: """
      Examples:
        swiftlet share admin update password ann@example.com
        swiftlet share admin update namespace NAMESPACE --name share.example.com --open
        swiftlet share admin update frontend FRONTEND --url-template 'https://{token}.example.com'
      """)

  @Argument(help: "What to change: \(Subject.allCases.map(\.rawValue).joined(separator: ", ")).")
  var subject: Subject

  @Argument(help: ArgumentHelp("Token of the frontend or namespace, or the account's address.", valueName: "which"))
  var which: String

  @Option(help: ArgumentHelp("Its new name: a frontend's public name, a namespace's zone.", valueName: "name"))
  var name: String?

  @Option(help: ArgumentHelp("frontend: URLs of shares, with {token}.", valueName: "template"))
  var urlTemplate: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("namespace: what people see.", valueName: "text"))
  var description: String?

  @Flag(inversion: .prefixedNo, help: "frontend: learns of names while it runs.")
  var dynamic: Bool?

  @Flag(help: "namespace: for every account.")
  var open = false

  @Flag(help: "namespace: only for accounts with a grant.")
  var closed = false

  @OptionGroup var password: NewPasswordOptions
  @OptionGroup var options: ShareAdminOptions

  func validate() throws {
    guard !open || !closed else { throw ValidationError("--open and --closed exclude each other") }
  }

  func run() async throws {
    var body: JSONObject = [:]
    let path: String
    switch subject {
    case .password:
      path = "/account"
      body = ["email": .string(which), "password": .string(try password.password(which))]
    case .frontend:
      path = "/frontend"
      body = ["frontendToken": .string(which), "dynamicSet": .bool(dynamic != nil), "dynamic": .bool(dynamic ?? false)]
      if let name { body["publicName"] = .string(name) }
      if let urlTemplate { body["urlTemplate"] = .string(urlTemplate) }
    case .namespace:
      path = "/namespace"
      body = ["namespaceToken": .string(which), "openSet": .bool(open || closed), "open": .bool(open)]
      if let name { body["name"] = .string(name) }
      if let description { body["description"] = .string(description) }
    }
    do { _ = try await options.administrator().call("change the \(subject.rawValue)", "PATCH", path, body) } catch {
      throw CommandFailure("cannot change the \(subject.rawValue) of \(which)", error)
    }
    Terminal.error.line("Changed.")
  }
}
