import Authentication
import Model
import Testing

@Suite("Login by password", .timeLimit(.minutes(5)))
struct PasswordLoginTests {
  private struct Step {
    var username = "ann"
    var password = "wrong"
    var maxAttempts = 2
    var mayLogIn = true
    var isIn = false
    /// So far.
    var lockOuts: Int
  }

  @Test("wrong passwords in a row lock out as the policy says, and a right one starts the count anew")
  func lockOut() async throws {
    let hasher = try PasswordHasher()
    let login = PasswordLogin(attempts: LoginAttempts(), passwords: hasher, clock: { .epoch })
    let known = Authenticator(
      id: "a", method: .updb, identityId: "i", username: "ann", password: try await hasher.hash("the right one"))
    let steps = [
      Step(lockOuts: 0), Step(password: "the right one", isIn: true, lockOuts: 0), Step(lockOuts: 0),
      Step(lockOuts: 1), Step(lockOuts: 1),
      // A policy without a limit, a name that nobody has, and an identity that may not log in.
      Step(maxAttempts: 0, lockOuts: 1), Step(username: "bob", maxAttempts: 1, lockOuts: 1),
      Step(password: "the right one", mayLogIn: false, lockOuts: 1),
    ]
    var lockOuts = 0
    for (number, step) in steps.enumerated() {
      let proven = try await login.judge(
        step.username, step.password, from: "::1", lookup: { $0 == "ann" ? known : nil },
        policy: { _ in PrimaryAuthPolicy.Password(allowed: true, maxAttempts: step.maxAttempts) },
        mayLogIn: { _ in step.mayLogIn }, lockOut: { _, _ in lockOuts += 1 })
      #expect((proven?.id == "a") == step.isIn, "step \(number)")
      #expect(lockOuts == step.lockOuts, "step \(number)")
    }
  }
}
