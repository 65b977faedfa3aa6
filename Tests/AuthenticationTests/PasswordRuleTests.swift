import Authentication
import Model
import Testing

@Suite("The rule for passwords")
struct PasswordRuleTests {
  @Test("tells the first demand that is not met, in the words of whoever asks")
  func words() {
    let policy = PrimaryAuthPolicy.Password(
      minPasswordLength: 6, requireSpecialChar: true, requireNumberChar: true, requireMixedCase: true)
    for (password, why) in [
      ("Ab1!", "it must have 6 to 100 characters"), ("Abcdef!", "it must contain a digit"),
      ("abcde1!", "it must contain upper and lower case letters"),
      ("Abcdef1", "it must contain a special character"),
    ] {
      #expect(throws: AuthenticationError.badPolicy(why)) { try PasswordPolicy.check(password, policy) }
    }
    #expect(throws: Never.self) { try PasswordPolicy.check("Abcde1!", policy) }
  }

  @Test("counts characters where it says characters, and bytes where it says bytes")
  func lengths() {
    let rule = PasswordRule([.charactersAtLeast(3), .bytesAtMost(8)])
    #expect(rule.unmet(by: "äö") == .charactersAtLeast(3))
    #expect(rule.unmet(by: "äöü") == nil)
    #expect(rule.unmet(by: "äöüäö") == .bytesAtMost(8))
  }

  @Test("knows a digit of any script from a plain one, and a sign of its own list from any other")
  func kinds() {
    #expect(PasswordRule.Demand.digit.isMet(by: "a٣") && !PasswordRule.Demand.plainDigit.isMet(by: "a٣"))
    #expect(PasswordRule.Demand.special.isMet(by: "a€") && !PasswordRule.Demand.oneOf(["!"]).isMet(by: "a€"))
    #expect(PasswordRule.Demand.special.words == PasswordRule.Demand.oneOf(["!"]).words)
  }
}
