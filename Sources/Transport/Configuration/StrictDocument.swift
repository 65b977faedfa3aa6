import Foundation
public import NIOCore
import Yams

/// What is wrong with a configuration file, with the line to look at.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
  public struct Problem: Sendable, Equatable {
    /// From 1; 0 when the problem belongs to no line.
    public var line: Int
    public var text: String
  }

  public var file: String
  public var problems: [Problem]

  public init(file: String, line: Int = 0, _ text: String) {
    self.file = file
    problems = [Problem(line: line, text: text)]
  }

  init(file: String, problems: [Problem]) {
    self.file = file
    self.problems = problems.sorted { $0.line < $1.line }
  }

  public var description: String {
    problems.map { $0.line > 0 ? "\(file):\($0.line): \($0.text)" : "\(file): \($0.text)" }.joined(separator: "\n")
  }
}

/// A YAML configuration file read without forgiveness: every key must be asked for by the program, so that a misspelt
/// key is an error with its line and the key that was probably meant, never a silent default.
///
/// ```swift
/// let document = try StrictDocument(path: path)
/// let ctrl = try document.root.section("ctrl")
/// let endpoint = try ctrl?.string("endpoint")
/// try document.finish()
/// ```
public struct StrictDocument {
  /// Bytes; a configuration is a few kilobytes.
  public static let sizeLimit = 1024 * 1024

  public let root: StrictSection

  public init(path: String) throws(ConfigurationError) {
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw ConfigurationError(file: path, "cannot be read: \(error.localizedDescription)")
    }
    try self.init(text: String(decoding: data, as: UTF8.self), file: path)
  }

  /// - Parameter file: how errors name the text.
  public init(text: String, file: String) throws(ConfigurationError) {
    guard text.utf8.count <= Self.sizeLimit else {
      throw ConfigurationError(file: file, "larger than \(Self.sizeLimit) bytes")
    }
    let text = String(decoding: FileText.withoutMark(text.utf8), as: UTF8.self)
    let node: Node?
    do { node = try Yams.compose(yaml: text) } catch { throw YAMLFault.error(error, text: text, file: file) }
    switch node {
    case nil: root = StrictSection(node: Node.Mapping([]), path: "", line: 1, file: file)
    case .mapping(let mapping)?: root = StrictSection(node: mapping, path: "", line: 1, file: file)
    case .scalar(let scalar)? where scalar.string.isEmpty:
      root = StrictSection(node: Node.Mapping([]), path: "", line: 1, file: file)
    default:
      throw ConfigurationError(file: file, line: node?.mark?.line ?? 0, "expected keys with values at the top level")
    }
  }

  /// Reports every key that was not asked for. Call when all reading is done.
  public func finish() throws(ConfigurationError) { try root.finish() }
}

/// A mapping of a `StrictDocument`. Every getter marks its key as known; values of the wrong type are errors, absent
/// ones nil.
public final class StrictSection {
  /// `ctrl.listeners[0]`; empty at the top.
  public let path: String
  public let line: Int
  public let file: String

  private let values: [String: (node: Node, line: Int)]
  private let keyProblems: [ConfigurationError.Problem]
  private var known: Set<String> = []
  private var children: [StrictSection] = []

  init(node: Node.Mapping, path: String, line: Int, file: String) {
    self.path = path
    self.line = line
    self.file = file
    var values: [String: (node: Node, line: Int)] = [:]
    var problems: [ConfigurationError.Problem] = []
    for (key, value) in node {
      if let name = key.scalar?.string {
        values[name] = (value, key.mark?.line ?? line)
      } else {
        problems.append(.init(line: key.mark?.line ?? line, text: "a key must be plain text"))
      }
    }
    self.values = values
    keyProblems = problems
  }

  /// Whether the key is written; does not mark it as known.
  public func contains(_ key: String) -> Bool { values[key] != nil }

  /// The line of a key, or of the section when the key is absent.
  public func line(of key: String) -> Int { values[key]?.line ?? line }

  /// An error about a key, for checks that the typed getters do not make.
  public func error(_ key: String, _ text: String) -> ConfigurationError {
    ConfigurationError(file: file, line: line(of: key), "\(name(key)): \(text)")
  }

  // MARK: Values

  public func string(_ key: String) throws(ConfigurationError) -> String? {
    guard let node = value(key) else { return nil }
    guard let scalar = node.scalar else { throw error(key, "expected text") }
    return try expanded(scalar, key)
  }

  public func required(_ key: String) throws(ConfigurationError) -> String {
    guard let text = try string(key), !text.isEmpty else { throw missing(key) }
    return text
  }

  public func int(_ key: String, in range: ClosedRange<Int> = .min ... .max) throws(ConfigurationError) -> Int? {
    guard let text = try string(key) else { return nil }
    guard let number = Int(text.replacing("_", with: "")) else {
      throw error(key, "expected a whole number, found \"\(text)\"")
    }
    guard range.contains(number) else {
      throw error(key, "\(number) is not between \(range.lowerBound) and \(range.upperBound)")
    }
    return number
  }

  public func bool(_ key: String) throws(ConfigurationError) -> Bool? {
    guard let text = try string(key) else { return nil }
    switch text.lowercased() {
    case "true", "yes", "on": return true
    case "false", "no", "off": return false
    default: throw error(key, "expected true or false, found \"\(text)\"")
    }
  }

  /// A duration as Go writes it: `1m30s`, `500ms`, `2h`; a bare `0` is allowed.
  public func duration(_ key: String) throws(ConfigurationError) -> TimeAmount? {
    guard let text = try string(key) else { return nil }
    guard let amount = GoDuration.parse(text) else {
      throw error(key, "expected a duration such as 30s or 1m30s, found \"\(text)\"")
    }
    return amount
  }

  /// A list of texts; a single text counts as a list of one.
  public func list(_ key: String) throws(ConfigurationError) -> [String]? {
    guard let node = value(key) else { return nil }
    if let scalar = node.scalar { return [try expanded(scalar, key)] }
    guard let sequence = node.sequence else { throw error(key, "expected a list") }
    var items: [String] = []
    for item in sequence {
      guard let scalar = item.scalar else { throw error(key, "expected a list of texts") }
      items.append(try expanded(scalar, key))
    }
    return items
  }

  /// `${NAME}` in a value is the variable of the environment.
  private func expanded(_ scalar: Node.Scalar, _ key: String) throws(ConfigurationError) -> String {
    func fault(_ text: String) -> ConfigurationError {
      ConfigurationError(file: file, line: scalar.mark?.line ?? line(of: key), "\(name(key)): \(text)")
    }
    var result = ""
    var rest = scalar.string[...]
    while let start = rest.firstRange(of: "${") {
      guard let end = rest[start.upperBound...].firstIndex(of: "}") else {
        throw fault("${ without its }; a variable is written ${NAME}")
      }
      let variable = String(rest[start.upperBound..<end])
      guard let value = ProcessInfo.processInfo.environment[variable] else {
        throw fault("the environment has no variable \(variable)")
      }
      result += rest[..<start.lowerBound] + value
      rest = rest[rest.index(after: end)...]
    }
    return result + rest
  }

  /// `host:port`, an IPv6 address in brackets.
  /// - Parameter defaultPort: with it the port may be missing.
  public func place(_ key: String, defaultPort: Int? = nil) throws(ConfigurationError) -> HostPort? {
    guard let text = try string(key) else { return nil }
    guard let place = HostPort(text, defaultPort: defaultPort) else {
      throw error(key, "expected host:port, an IPv6 address in brackets such as [::1]:1280, found \"\(text)\"")
    }
    return place
  }

  /// `trustedProxies`: addresses without ports, from where connections of many come (`StrangerLimits.trustedProxies`).
  public func trustedProxies() throws(ConfigurationError) -> [String] {
    var addresses: [String] = []
    for text in try list("trustedProxies") ?? [] {
      guard let address = HostPort.address(text) else { throw error("trustedProxies", "\"\(text)\" is not an address") }
      addresses.append(address)
    }
    return addresses
  }

  public func section(_ key: String) throws(ConfigurationError) -> StrictSection? {
    guard let node = value(key) else { return nil }
    guard let mapping = node.mapping else { throw error(key, "expected keys with values below it") }
    return child(mapping, name(key), line(of: key))
  }

  /// A list of sections; nil when the key is absent.
  public func sections(_ key: String) throws(ConfigurationError) -> [StrictSection]? {
    guard let node = value(key) else { return nil }
    guard let sequence = node.sequence else { throw error(key, "expected a list (lines beginning with \"-\")") }
    var items: [StrictSection] = []
    for (index, item) in sequence.enumerated() {
      guard let mapping = item.mapping else { throw error(key, "entry \(index + 1) is not a set of keys") }
      items.append(child(mapping, "\(name(key))[\(index)]", item.mark?.line ?? line(of: key)))
    }
    return items
  }

  /// Accepts keys whose values this program does not use, with everything below them.
  public func accept(_ keys: String...) { known.formUnion(keys) }

  public func missing(_ key: String) -> ConfigurationError {
    ConfigurationError(file: file, line: path.isEmpty ? 0 : line, "\(name(key)) is missing")
  }

  /// Reports the keys, here and in every section that was asked for, that nobody asked for.
  public func finish() throws(ConfigurationError) {
    let problems = unread
    guard problems.isEmpty else { throw ConfigurationError(file: file, problems: problems) }
  }

  // MARK: Inside

  private func value(_ key: String) -> Node? {
    known.insert(key)
    guard let node = values[key]?.node else { return nil }
    if let scalar = node.scalar, scalar.style == .plain, ["", "~", "null"].contains(scalar.string) { return nil }
    return node
  }

  private func child(_ mapping: Node.Mapping, _ path: String, _ line: Int) -> StrictSection {
    // The same section may be read in two places; both must see what the other one knows.
    if let again = children.first(where: { $0.path == path }) { return again }
    let section = StrictSection(node: mapping, path: path, line: line, file: file)
    children.append(section)
    return section
  }

  private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  private var unread: [ConfigurationError.Problem] {
    let own = values.filter { !known.contains($0.key) }.map { key, entry -> ConfigurationError.Problem in
      let place = path.isEmpty ? "" : " in \(path)"
      let guess = Spelling.nearest(to: key, among: known).map { "; did you mean '\($0)'?" } ?? ""
      return .init(line: entry.line, text: "unknown key '\(key)'\(place)\(guess)")
    }
    return keyProblems + own + children.flatMap(\.unread)
  }
}

/// Finds the word that was meant.
enum Spelling {
  static func nearest(to word: String, among candidates: Set<String>) -> String? {
    let limit = max(2, word.count / 3)
    return candidates.map { (distance(word.lowercased(), $0.lowercased()), $0) }.filter { $0.0 <= limit }.min {
      $0 < $1
    }?.1
  }

  /// Edits (insert, delete, replace) between two words.
  private static func distance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a.prefix(64)), Array(b.prefix(64)))
    var row = Array(0...b.count)
    for i in a.indices {
      var diagonal = i
      row[0] = i + 1
      for j in b.indices {
        let above = row[j + 1]
        row[j + 1] = min(above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1))
        diagonal = above
      }
    }
    return row[b.count]
  }
}
