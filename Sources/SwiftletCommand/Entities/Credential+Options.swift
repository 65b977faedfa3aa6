import ArgumentParser
import JSON
import Model

struct NewEnrollment: NewEntity {
  static let kind = EntityDescription.enrollment
  static let examples = """
    swiftlet create enrollment ott alice -o alice.jwt
    swiftlet create enrollment updb alice alice.smith --duration 60 -o alice.jwt
    """

  @Argument(help: "How the identity will enroll: ott (certificate) or updb (password).")
  var method: String

  @Argument(help: "Id or name of the identity.")
  var identity: String

  @Argument(help: "User name, for updb.")
  var username: String?

  @Option(name: [.customShort("d"), .long], help: ArgumentHelp("Minutes the token is good for.", valueName: "minutes"))
  var duration = 30

  @Option(
    name: [.customShort("o"), .customLong("jwt-output-file")],
    help: ArgumentHelp("Write the enrollment token there.", valueName: "file"))
  var tokenFile: String?

  @OptionGroup var tagging: TagOptions

  var title: String { "for \(identity)" }

  func body(_ names: NameResolver) async throws -> JSONObject {
    guard (1...525_600).contains(duration) else {
      throw CommandFailure("\(duration) minutes is no lifetime for a token", next: "give 1 to 525600")
    }
    var body: JSONObject = [
      "method": .string(method), "identityId": .string(try await names.id(.identity, identity)),
      "expiresAt": .string(Timestamp.now().adding(seconds: Int64(duration) * 60).text),
    ]
    body.set("username", username)
    return body
  }
}

struct NewAuthenticator: NewEntity {
  static let kind = EntityDescription.authenticator
  static let examples = """
    swiftlet create authenticator updb alice alice.smith
    """

  @Argument(help: "Only updb (user name and password); certificates come with enrollment.")
  var method: String

  @Argument(help: "Id or name of the identity.")
  var identity: String

  @Argument(help: "User name.")
  var username: String

  @Argument(help: "Password; asked for when absent.")
  var password: String?

  @OptionGroup var tagging: TagOptions

  var title: String { "for \(identity)" }

  func body(_ names: NameResolver) async throws -> JSONObject {
    guard let password = password ?? Terminal.secret("New password of \(username)"), !password.isEmpty else {
      throw CommandFailure("no password given for \(username)")
    }
    return [
      "method": .string(method), "identityId": .string(try await names.id(.identity, identity)),
      "username": .string(username),
      "password": .string(password),
    ]
  }
}

struct AuthenticatorChange: UpdateOptions {
  static let kind = EntityDescription.authenticator
  static let examples = """
    swiftlet update authenticator 2yfVuztZt. --username admin --password 'a better one'
    """

  @Option(name: .shortAndLong, help: ArgumentHelp("New user name.", valueName: "name"))
  var username: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("New password.", valueName: "text"))
  var password: String?

  @OptionGroup var tagging: TagOptions

  func body(_ names: NameResolver) async throws -> JSONObject {
    var body: JSONObject = [:]
    body.set("username", username)
    body.set("password", password)
    return body
  }
}
