/// A regular expression without backtracking: all alternatives advance together, so that time is bounded by pattern
/// length times text length whatever the pattern. Knows literals, `.`, classes, `\d \w \s` and their opposites, groups,
/// `|`, `* + ? {m,n}`, `^` and `$`; not back references nor look-around. Matches anywhere in the text, as JSON Schema
/// wants it.
struct Pattern: Sendable {
  struct Failure: Error { var reason: String }

  private indirect enum Node {
    case empty
    case set(CharacterSet)
    case start
    case end
    case sequence([Node])
    case alternatives([Node])
    case repetition(Node, least: Int, most: Int?)
  }

  private struct CharacterSet: Sendable {
    var ranges: [ClosedRange<UInt32>] = []
    var isNegated = false

    func contains(_ scalar: UInt32) -> Bool { ranges.contains { $0.contains(scalar) } != isNegated }
  }

  private enum Instruction: Sendable {
    case consume(CharacterSet)
    case split(Int, Int)
    case jump(Int)
    case assertStart
    case assertEnd
    case match
  }

  private static let lengthLimit = 4096
  private static let instructionLimit = 4096
  private static let depthLimit = 32
  private var program: [Instruction] = []

  init(_ text: String) throws(Failure) {
    guard text.utf8.count <= Self.lengthLimit else {
      throw Failure(reason: "it is longer than \(Self.lengthLimit) bytes")
    }
    var parser = Parser(scalars: Array(text.unicodeScalars))
    let node = try parser.alternatives(depth: 0)
    guard parser.position == parser.scalars.count else { throw Failure(reason: "unmatched ')'") }
    var emitted = 0
    try emit(node, &emitted)
    program.append(.match)
  }

  /// Instructions, the measure of the memory it takes.
  var size: Int { program.count }

  /// - Parameter steps: what may still be spent; each instruction and each range of a class that is looked at takes
  ///   one.
  /// - Returns: nil when the steps ran out before it was known.
  func matches(_ text: String, steps: inout Int) -> Bool? {
    let scalars = text.unicodeScalars.map(\.value)
    steps -= scalars.count / 8 + 1
    var current = Threads(count: program.count)
    var following = Threads(count: program.count)
    for position in 0...scalars.count {
      add(0, to: &current, position: position, count: scalars.count, &steps)
      if current.matched { return true }
      guard steps > 0 else { return nil }
      guard position < scalars.count else { break }
      following.clear()
      for index in current.list {
        guard case .consume(let set) = program[index] else { continue }
        steps -= set.ranges.count
        guard set.contains(scalars[position]) else { continue }
        add(index + 1, to: &following, position: position + 1, count: scalars.count, &steps)
        if following.matched { return true }
        guard steps > 0 else { return nil }
      }
      swap(&current, &following)
    }
    return false
  }

  /// The instructions that are alive at one position. Clearing costs nothing: what was seen is marked with a number of
  /// its own for each position.
  private struct Threads {
    var list: [Int] = []
    var matched = false
    private var seen: [Int]
    private var round = 1

    init(count: Int) { seen = [Int](repeating: 0, count: count) }

    mutating func clear() {
      list.removeAll(keepingCapacity: true)
      matched = false
      round += 1
    }

    /// False when it was there.
    mutating func insert(_ index: Int) -> Bool {
      guard seen[index] != round else { return false }
      seen[index] = round
      return true
    }
  }

  private func add(_ start: Int, to threads: inout Threads, position: Int, count: Int, _ steps: inout Int) {
    var pending = [start]
    while let index = pending.popLast() {
      guard threads.insert(index) else { continue }
      steps -= 1
      switch program[index] {
      case .consume: threads.list.append(index)
      case .split(let first, let second): pending += [second, first]
      case .jump(let target): pending.append(target)
      case .assertStart: if position == 0 { pending.append(index + 1) }
      case .assertEnd: if position == count { pending.append(index + 1) }
      case .match: threads.matched = true
      }
    }
  }

  /// - Parameter emitted: nodes so far: what repeats nothing emits no instruction, but takes time too.
  private mutating func emit(_ node: Node, _ emitted: inout Int) throws(Failure) {
    emitted += 1
    guard program.count < Self.instructionLimit, emitted < 4 * Self.instructionLimit else {
      throw Failure(reason: "it is too large")
    }
    switch node {
    case .empty: break
    case .set(let set): program.append(.consume(set))
    case .start: program.append(.assertStart)
    case .end: program.append(.assertEnd)
    case .sequence(let nodes): for node in nodes { try emit(node, &emitted) }
    case .alternatives(let nodes):
      var exits: [Int] = []
      for (index, node) in nodes.enumerated() {
        guard index < nodes.count - 1 else {
          try emit(node, &emitted)
          break
        }
        let split = program.count
        program.append(.match)
        try emit(node, &emitted)
        exits.append(program.count)
        program.append(.match)
        program[split] = .split(split + 1, program.count)
      }
      for exit in exits { program[exit] = .jump(program.count) }
    case .repetition(let node, let least, let most):
      for _ in 0..<least { try emit(node, &emitted) }
      if let most {
        var splits: [Int] = []
        for _ in least..<most {
          splits.append(program.count)
          program.append(.match)
          try emit(node, &emitted)
        }
        for split in splits { program[split] = .split(split + 1, program.count) }
      } else {
        let split = program.count
        program.append(.match)
        try emit(node, &emitted)
        program.append(.jump(split))
        program[split] = .split(split + 1, program.count)
      }
    }
  }

  private struct Parser {
    let scalars: [Unicode.Scalar]
    var position = 0

    init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

    private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    mutating func alternatives(depth: Int) throws(Failure) -> Node {
      guard depth <= Pattern.depthLimit else { throw Failure(reason: "it is nested too deeply") }
      var nodes = [try sequence(depth: depth)]
      while next == "|" {
        position += 1
        nodes.append(try sequence(depth: depth))
      }
      return nodes.count == 1 ? nodes[0] : .alternatives(nodes)
    }

    private mutating func sequence(depth: Int) throws(Failure) -> Node {
      var nodes: [Node] = []
      while let scalar = next, scalar != "|", scalar != ")" {
        var node = try atom(depth: depth)
        var quantifiers = 0
        while let (least, most) = try quantifier() {
          quantifiers += 1
          guard depth + quantifiers <= Pattern.depthLimit else { throw Failure(reason: "it is nested too deeply") }
          node = .repetition(node, least: least, most: most)
          if next == "?" { position += 1 }
        }
        nodes.append(node)
      }
      return nodes.isEmpty ? .empty : .sequence(nodes)
    }

    private mutating func quantifier() throws(Failure) -> (Int, Int?)? {
      switch next {
      case "*":
        position += 1
        return (0, nil)
      case "+":
        position += 1
        return (1, nil)
      case "?":
        position += 1
        return (0, 1)
      case "{":
        guard let close = scalars[position...].firstIndex(of: "}") else { return nil }
        let parts = String(String.UnicodeScalarView(scalars[position + 1..<close])).split(
          separator: ",", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let least = Int(parts[0]), (0...1000).contains(least) else { return nil }
        position = close + 1
        guard parts.count == 2 else { return (least, least) }
        if parts[1].isEmpty { return (least, nil) }
        guard let most = Int(parts[1]), (least...1000).contains(most) else {
          throw Failure(reason: "the bounds of {m,n} are wrong")
        }
        return (least, most)
      default: return nil
      }
    }

    private mutating func atom(depth: Int) throws(Failure) -> Node {
      guard let scalar = next else { return .empty }
      position += 1
      switch scalar {
      case "^": return .start
      case "$": return .end
      case ".": return .set(CharacterSet(ranges: [10...10, 13...13], isNegated: true))
      case "(":
        if next == "?" {
          guard position + 1 < scalars.count, scalars[position + 1] == ":" else {
            throw Failure(reason: "look-around is not supported")
          }
          position += 2
        }
        let node = try alternatives(depth: depth + 1)
        guard next == ")" else { throw Failure(reason: "unmatched '('") }
        position += 1
        return node
      case "[": return .set(try characterClass())
      case "*", "+", "?": throw Failure(reason: "'\(scalar)' repeats nothing")
      case "\\": return .set(try escape())
      default: return .set(CharacterSet(ranges: [scalar.value...scalar.value]))
      }
    }

    private mutating func escape() throws(Failure) -> CharacterSet {
      guard let scalar = next else { throw Failure(reason: "it ends with '\\'") }
      position += 1
      let word: [ClosedRange<UInt32>] = [48...57, 65...90, 95...95, 97...122]
      let space: [ClosedRange<UInt32>] = [9...13, 32...32, 0xA0...0xA0, 0x2028...0x2029]
      switch scalar {
      case "d": return CharacterSet(ranges: [48...57])
      case "D": return CharacterSet(ranges: [48...57], isNegated: true)
      case "w": return CharacterSet(ranges: word)
      case "W": return CharacterSet(ranges: word, isNegated: true)
      case "s": return CharacterSet(ranges: space)
      case "S": return CharacterSet(ranges: space, isNegated: true)
      case "n": return CharacterSet(ranges: [10...10])
      case "r": return CharacterSet(ranges: [13...13])
      case "t": return CharacterSet(ranges: [9...9])
      case "f": return CharacterSet(ranges: [12...12])
      case "v": return CharacterSet(ranges: [11...11])
      case "0": return CharacterSet(ranges: [0...0])
      case "x", "u":
        let count = scalar == "x" ? 2 : 4
        guard position + count <= scalars.count,
          let value = UInt32(String(String.UnicodeScalarView(scalars[position..<position + count])), radix: 16)
        else { throw Failure(reason: "\\\(scalar) needs \(count) hexadecimal digits") }
        position += count
        return CharacterSet(ranges: [value...value])
      case "b", "B", "1"..."9", "p", "P", "k": throw Failure(reason: "\\\(scalar) is not supported")
      default: return CharacterSet(ranges: [scalar.value...scalar.value])
      }
    }

    private mutating func characterClass() throws(Failure) -> CharacterSet {
      var set = CharacterSet()
      if next == "^" {
        set.isNegated = true
        position += 1
      }
      while let scalar = next, scalar != "]" {
        let low = try classMember()
        guard low.count == 1, let start = low.first, start.count == 1, next == "-", position + 1 < scalars.count,
          scalars[position + 1] != "]"
        else {
          set.ranges += low
          continue
        }
        position += 1
        let high = try classMember()
        guard high.count == 1, let end = high.first, end.count == 1, start.lowerBound <= end.lowerBound else {
          throw Failure(reason: "a range of a character class is wrong")
        }
        set.ranges.append(start.lowerBound...end.lowerBound)
      }
      guard next == "]" else { throw Failure(reason: "unmatched '['") }
      position += 1
      return set
    }

    private mutating func classMember() throws(Failure) -> [ClosedRange<UInt32>] {
      guard let scalar = next else { throw Failure(reason: "unmatched '['") }
      position += 1
      guard scalar == "\\" else { return [scalar.value...scalar.value] }
      if next == "b" {
        position += 1
        return [8...8]
      }
      let set = try escape()
      guard set.isNegated else { return set.ranges }
      var ranges: [ClosedRange<UInt32>] = []
      var start: UInt32 = 0
      for range in set.ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
        if range.lowerBound > start { ranges.append(start...(range.lowerBound - 1)) }
        start = range.upperBound + 1
      }
      ranges.append(start...0x10FFFF)
      return ranges
    }
  }
}
