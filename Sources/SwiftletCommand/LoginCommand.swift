import ArgumentParser
import Foundation
import JSON
import Model
import NIOCore
import PKI
import Swiftlet
import Transport

struct LoginCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "login", abstract: "Sign in to a controller and save the session.",
    discussion: """
      The first sign-in shows the controller's root certificates and asks whether to trust them.

      Examples:
        swiftlet login localhost:1280 -u admin
        swiftlet login ctrl.example.com:1280 -u admin --ca company-roots.pem
        echo "$PASSWORD" | swiftlet login localhost:1280 -u admin --password-stdin -y
        swiftlet login localhost:1280 --identity operator.json
      """)

  @Argument(help: "The controller: host:port or https://host:port. Default: the controller of the saved login.")
  var address: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("User name.", valueName: "name"))
  var username: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Password; other users of this machine can see it while the command runs. Asked for when absent.",
      valueName: "text"))
  var password: String?

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  @Option(
    name: [.customShort("f"), .customLong("identity")],
    help: ArgumentHelp("Sign in with the certificate of this identity file.", valueName: "file"))
  var identityFile: String?

  @Option(help: ArgumentHelp("Trust these root certificates (PEM) and ask nothing.", valueName: "file"))
  var ca: String?

  @Flag(name: .shortAndLong, help: "Trust the controller's roots without asking.")
  var yes = false

  @Option(name: [.customShort("i"), .long], help: ArgumentHelp("Save under this name.", valueName: "name"))
  var profile = "default"

  @Option(help: ArgumentHelp("Seconds to wait for an answer.", valueName: "seconds"))
  var timeout = 15

  func run() async throws {
    var store = try ProfileStore.load()
    let saved = store.profiles[profile]
    let base = try controller(saved)
    let roots = try await trustedRoots(base, saved: saved)
    let known = saved.flatMap { $0.url.hasPrefix(base + "/") ? $0.trustDomain : nil }
    let trust = ServerTrust.anchors(roots, as: .controller(of: known))
    let management = try await TrustProbe.managementBase(base, trust: trust, timeout: wait)
    let session: JSONValue
    let name: String
    if let identityFile {
      (session, name) = try await withCertificate(identityFile, management, trust: trust)
    } else {
      (session, name) = try await withPassword(management, trust: trust, saved: saved)
    }
    guard let token = session["data"]?["token"]?.stringValue else {
      throw CommandFailure("cannot sign in to \(base)", reason: "the answer has no token")
    }
    let named = try await HTTPSClient.leaf(of: base, timeout: wait).spiffeID.flatMap {
      $0.controllerID == nil ? nil : $0.trustDomain
    }
    store.profiles[profile] = Profile(
      url: management, username: name, token: token, loginTime: .now(), roots: roots.pem, trustDomain: known ?? named)
    store.current = profile
    try store.save()
    Terminal.output.line("Signed in to \(base) as \(name). Saved as '\(profile)' in \(ProfileStore.path)")
  }

  private var wait: TimeAmount { .seconds(Int64(max(1, timeout))) }

  /// `https://host:port` without a path.
  private func controller(_ saved: Profile?) throws -> String {
    guard let text = address ?? saved?.url else {
      throw CommandFailure("no controller named", next: "name one: swiftlet login localhost:1280 -u admin")
    }
    return try TrustProbe.base(text)
  }

  private func trustedRoots(_ base: String, saved: Profile?) async throws -> TrustAnchors {
    if let ca {
      return try TrustProbe.anchors(
        pem: String(decoding: try PrivateFile.read(ca, what: "the certificates in"), as: UTF8.self), source: ca)
    }
    let roots = try await Spinner.during("asking \(base) for its root certificates") { [wait] in
      try await TrustProbe.fetch(base, timeout: wait)
    }
    if let saved, saved.url.hasPrefix(base + "/"),
      let known = try? TrustProbe.anchors(pem: saved.roots, source: "the saved login"),
      known.fingerprints == roots.fingerprints
    {
      return roots
    }
    guard TrustProbe.confirms(roots, of: base, yes: yes) else { throw TrustProbe.refusal(base) }
    return roots
  }

  private func withPassword(_ management: String, trust: ServerTrust, saved: Profile?) async throws -> (
    JSONValue, String
  ) {
    guard let username = username ?? saved?.username else {
      throw CommandFailure("no user named", next: "add -u NAME, or --identity FILE for a certificate")
    }
    guard let password = passwordStdin ? readLine() : password ?? Terminal.secret("Password of \(username)"),
      !password.isEmpty
    else {
      throw CommandFailure(
        "no password given for \(username)", next: "type it when asked, or use -p or --password-stdin")
    }
    let body: JSONObject = ["username": .string(username), "password": .string(password)]
    return (
      try await authenticate(management, method: "password", tls: ClientTLS(trust: trust), body: body, who: username),
      username
    )
  }

  private func withCertificate(_ path: String, _ management: String, trust: ServerTrust) async throws -> (
    JSONValue, String
  ) {
    let credentials: (chain: CertificateChain, key: PrivateKey)
    do {
      credentials = try IdentityFile.load(from: path).credentials()
    } catch {
      throw CommandFailure("cannot use the identity file \(path)", error)
    }
    let tls = ClientTLS(chain: credentials.chain, key: credentials.key, trust: trust)
    let session = try await authenticate(management, method: "cert", tls: tls, body: [:], who: path)
    return (session, session["data"]?["identity"]?["name"]?.stringValue ?? path)
  }

  private func authenticate(_ management: String, method: String, tls: ClientTLS, body: JSONObject, who: String)
    async throws -> JSONValue
  {
    let answer: HTTPAnswer
    do {
      answer = try await Spinner.during("signing in") { [wait] in
        try await HTTPSClient(tls: tls).request(
          method: "POST", management + "/authenticate?method=\(method)",
          headers: [("content-type", "application/json"), ("accept", "application/json")],
          body: JSONValue.object(body).serialized(), timeout: wait)
      }
    } catch {
      throw CommandFailure("cannot sign in as \(who)", error)
    }
    if answer.status == 401 {
      throw CommandFailure(
        "cannot sign in as \(who)", reason: "name, password or certificate is not accepted",
        next: "check both and try again")
    }
    return try ManagementClient.envelope(answer, doing: "sign in as \(who)")
  }
}

struct LogoutCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logout", abstract: "End the saved session and forget it.",
    discussion: """
      Examples:
        swiftlet logout
        swiftlet logout -i staging
      """)

  @Option(
    name: [.customShort("i"), .long],
    help: ArgumentHelp("The saved login to end. Default: the current one.", valueName: "name"))
  var profile: String?

  func run() async throws {
    var store = try ProfileStore.load()
    let name = profile ?? store.current
    let saved = try store.profile(profile)
    store.profiles[name] = nil
    if store.current == name { store.current = store.profiles.keys.sorted().first ?? "default" }
    // The saved token goes first: a controller that cannot be reached must not keep it alive on this machine.
    try store.save()
    do {
      _ = try await ManagementClient(profile: saved, timeout: .seconds(10)).send(
        "DELETE", "/current-api-session", doing: "end the session at \(saved.url)")
    } catch {
      Terminal.error.line("The session at \(saved.url) could not be ended there (\(error)); it expires by itself.")
    }
    Terminal.output.line("Signed out of '\(name)'.")
  }
}

struct ProfilesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "profiles", abstract: "List saved logins, or choose the one to use.",
    discussion: """
      Examples:
        swiftlet profiles
        swiftlet profiles --use staging
      """)

  @Option(help: ArgumentHelp("Make this the current login.", valueName: "name"))
  var use: String?

  func run() async throws {
    var store = try ProfileStore.load()
    if let use {
      _ = try store.profile(use)
      store.current = use
      try store.save()
    }
    var table = Table(
      headers: ["Current", "Name", "Controller", "User", "Since"], alignments: Array(repeating: .left, count: 5))
    for (name, profile) in store.profiles.sorted(by: { $0.key < $1.key }) {
      table.rows.append([name == store.current ? "*" : "", name, profile.url, profile.username, profile.loginTime.text])
    }
    Terminal.output.line(table.text)
  }
}
