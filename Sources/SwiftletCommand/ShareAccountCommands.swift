import ArgumentParser
import Foundation
import Model
import SwiftletShare

// The way to an account, and back to its password.

struct ShareServiceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The share service. Default: ZROK2_API_ENDPOINT, or the setting apiEndpoint.", valueName: "url"))
  var endpoint: String?

  @OptionGroup var home: ShareHomeOptions

  func administrator(secret: String = "") throws -> ShareAdministrator {
    do {
      return try ShareAdministrator(endpoint: endpoint, secret: secret, environment: home.environment(), roots: home.ca)
    } catch {
      throw CommandFailure("which share service?", error)
    }
  }
}

/// A new password: typed, or from standard input, never an argument that others on the machine can see.
struct NewPasswordOptions: ParsableArguments {
  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func password(_ email: String) throws -> String {
    guard let password = passwordStdin ? readLine() : Terminal.secret("New password of \(email)"), !password.isEmpty
    else {
      throw CommandFailure("no password given for \(email)", next: "type it when asked, or use --password-stdin")
    }
    return password
  }
}

struct ShareInviteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "invite", abstract: "Ask a share service for an account.",
    discussion: """
      A registration token comes by mail, or from the service's operator.

      Examples:
        swiftlet share invite ann@example.com --endpoint https://share.example.com
        swiftlet share register TOKEN
      """)

  @Argument(help: ArgumentHelp("Your e-mail address.", valueName: "address"))
  var email: String

  @Option(help: ArgumentHelp("An invitation, where the service wants one.", valueName: "token"))
  var token: String?

  @OptionGroup var options: ShareServiceOptions

  func run() async throws {
    do { try await options.administrator().invite(email: email, invitation: token) } catch {
      throw CommandFailure("cannot ask for an account for \(email)", error)
    }
    Terminal.error.line(
      "Asked. The registration token comes by mail, or from the service's operator; then: swiftlet share register TOKEN"
    )
  }
}

struct ShareRegisterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "register", abstract: "Make the account that a registration token is for.",
    discussion: """
      Examples:
        swiftlet share register AgHUxIR0imBA
        echo "$PASSWORD" | swiftlet share register AgHUxIR0imBA --password-stdin
      """)

  @Argument(help: ArgumentHelp("The registration token.", valueName: "token"))
  var token: String

  @OptionGroup var password: NewPasswordOptions
  @OptionGroup var options: ShareServiceOptions

  func run() async throws {
    do {
      let made = try await options.administrator().register(token, password: password.password("the account"))
      Terminal.output.line(made.token)
      Terminal.error.line(
        "\(made.email) has an account. Make this machine part of it: swiftlet share enable \(made.token)")
    } catch {
      throw CommandFailure("cannot make the account", error)
    }
  }
}

struct ShareResetPasswordCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reset-password", abstract: "Ask for a new password, and set it with the token that comes.",
    discussion: """
      Examples:
        swiftlet share reset-password ann@example.com
        swiftlet share reset-password --token AgHUxIR0imBA
      """)

  @Argument(help: ArgumentHelp("The account's e-mail address.", valueName: "address"))
  var email: String?

  @Option(help: ArgumentHelp("The token that came by mail, or from the service's operator.", valueName: "token"))
  var token: String?

  @OptionGroup var password: NewPasswordOptions
  @OptionGroup var options: ShareServiceOptions

  func validate() throws {
    guard (email == nil) != (token == nil) else {
      throw ValidationError("give either the account's address, or --token")
    }
  }

  func run() async throws {
    let service = try options.administrator()
    do {
      if let token {
        try await service.resetPassword(token, password: password.password("the account"))
        Terminal.error.line("The password is set.")
      } else if let email {
        try await service.requestPasswordReset(email: email)
        Terminal.error.line("If there is such an account, a token comes by mail, or from the service's operator.")
      }
    } catch {
      throw CommandFailure("cannot reset the password", error)
    }
  }
}
