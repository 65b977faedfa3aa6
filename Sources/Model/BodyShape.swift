/// What an operation takes as its body, and each member of it. Members that are not named may be anything; one that is
/// null counts as absent. `REST` checks bodies by it before the operation runs (management spec 4.7).
public indirect enum BodyShape: Sendable, ExpressibleByDictionaryLiteral {
  case anything
  /// A text, and how many characters it may have.
  case string(ClosedRange<Int>)
  case word([String])
  case time
  case boolean
  case number(ClosedRange<Int>)
  case list(BodyShape)
  /// An object of free names.
  case map(BodyShape)
  case members([(name: String, shape: BodyShape)])
  /// A member that must be there.
  case required(BodyShape)

  public static let text = BodyShape.string(0...Int.max)
  public static let integer = BodyShape.number(Int.min...Int.max)
  public static let object = BodyShape.map(.anything)
  public static let texts = BodyShape.list(.text)

  public init(dictionaryLiteral members: (String, BodyShape)...) {
    self = .members(members.map { (name: $0.0, shape: $0.1) })
  }

  /// The same where only what changes is sent: nothing is required.
  public var patch: BodyShape {
    switch self {
    case .required(let shape): shape.patch
    case .members(let members): .members(members.map { (name: $0.name, shape: $0.shape.patch) })
    default: self
    }
  }

  /// The same with more members.
  public func adding(_ more: BodyShape) -> BodyShape {
    guard case .members(let own) = self, case .members(let more) = more else { return self }
    return .members(own + more)
  }
}
