public import Model

/// What a password must be like: a list of demands, judged here for everybody who sets one. Whose rule has which
/// demands is said where its owners are: below for identities, in the share service for its accounts.
public struct PasswordRule: Sendable, Equatable {
  /// One demand. Characters are what a reader counts, not bytes.
  public enum Demand: Sendable, Equatable {
    case characters(ClosedRange<Int>)
    case charactersAtLeast(Int)
    case bytesAtMost(Int)
    /// A digit of any script.
    case digit
    /// One of 0 to 9.
    case plainDigit
    case upperCase
    case bothCases
    /// Anything but letters and numbers.
    case special
    case oneOf(Set<Character>)

    /// Whether a password is as demanded.
    public func isMet(by password: String) -> Bool {
      switch self {
      case .characters(let counts): counts.contains(password.count)
      case .charactersAtLeast(let count): password.count >= count
      case .bytesAtMost(let count): password.utf8.count <= count
      case .digit: password.contains(where: \.isNumber)
      case .plainDigit: password.contains { ("0"..."9").contains($0) }
      case .upperCase: password.contains(where: \.isUppercase)
      case .bothCases: password.contains(where: \.isUppercase) && password.contains(where: \.isLowercase)
      case .special: !password.allSatisfy { $0.isLetter || $0.isNumber }
      case .oneOf(let characters): password.contains(where: characters.contains)
      }
    }

    /// As it reads after "it must".
    public var words: String {
      switch self {
      case .characters(let counts): "have \(counts.lowerBound) to \(counts.upperBound) characters"
      case .charactersAtLeast(let count): "have at least \(count) characters"
      case .bytesAtMost(let count): "have at most \(count) bytes"
      case .digit, .plainDigit: "contain a digit"
      case .upperCase: "contain an upper-case letter"
      case .bothCases: "contain upper and lower case letters"
      case .special, .oneOf: "contain a special character"
      }
    }
  }

  /// In the order in which they are told.
  public let demands: [Demand]

  public init(_ demands: [Demand]) { self.demands = demands }

  /// - Returns: the first demand that a password does not meet, nil when it will do.
  public func unmet(by password: String) -> Demand? { demands.first { !$0.isMet(by: password) } }
}

/// The rule for identities, as their authentication policy has it (management-and-model.md 1.16).
public enum PasswordPolicy {
  public static let lengths = 5...100
  public static let usernameLengths = 4...100

  /// - Throws: `AuthenticationError.badPolicy` with what the password lacks.
  public static func check(_ password: String, _ policy: PrimaryAuthPolicy.Password) throws(AuthenticationError) {
    if let demand = rule(policy).unmet(by: password) { throw .badPolicy("it must \(demand.words)") }
  }

  /// The rule of a policy. A least length beyond the limits counts as the nearest one within.
  static func rule(_ policy: PrimaryAuthPolicy.Password) -> PasswordRule {
    let minimum = min(max(policy.minPasswordLength, lengths.lowerBound), lengths.upperBound)
    var demands: [PasswordRule.Demand] = [.characters(minimum...lengths.upperBound)]
    if policy.requireNumberChar { demands.append(.digit) }
    if policy.requireMixedCase { demands.append(.bothCases) }
    if policy.requireSpecialChar { demands.append(.special) }
    return PasswordRule(demands)
  }
}
