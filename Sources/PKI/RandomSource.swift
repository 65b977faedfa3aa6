/// The program's one source of random numbers: the system's, which nobody can foresee. Secrets, tokens, names and waits
/// of the shells come from here; ids come from `EntityID`. What must be the same again under test, such as the cores of
/// `Fabric`, takes a generator as an argument and gets this one from its shell.
package struct RandomSource: RandomNumberGenerator, Sendable {
  private var system = SystemRandomNumberGenerator()

  package init() {}

  package mutating func next() -> UInt64 { system.next() }

  package static func bytes(_ count: Int) -> [UInt8] {
    var random = RandomSource()
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    for _ in 0..<count { bytes.append(UInt8.random(in: .min ... .max, using: &random)) }
    return bytes
  }

  /// - Parameters:
  ///   - count: of characters.
  ///   - alphabet: from which each is drawn, all alike.
  package static func text(_ count: Int, of alphabet: String) -> String {
    var random = RandomSource()
    let alphabet = Array(alphabet)
    var text = ""
    for _ in 0..<count { text.append(alphabet[Int.random(in: alphabet.indices, using: &random)]) }
    return text
  }

  /// - Parameter count: of bytes; each makes two characters of `0-9a-f`.
  package static func hex(_ count: Int) -> String { HexText.encoded(bytes(count)) }
}
