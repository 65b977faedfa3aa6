import Yams

/// What the YAML library says is wrong with a text, in one line with its place: its own words repeat the text.
enum YAMLFault {
  static func error(_ error: any Error, text: String, file: String) -> ConfigurationError {
    let unreadable = "not readable as YAML: "
    switch error as? YamlError {
    case .duplicatedKeysInMapping(let keys, let context)?:
      // Keys of one mapping; the mark is the first one's.
      guard let key = keys.first else {
        return ConfigurationError(file: file, line: context.mark.line, unreadable + "a key is written twice")
      }
      let first = context.mark.line
      guard let second = secondLine(of: key, after: context.mark, in: text) else {
        return ConfigurationError(file: file, line: first, "the key '\(key)' is written twice")
      }
      return ConfigurationError(
        file: file, line: second, "the key '\(key)' is written twice, in line \(first) and in line \(second)")
    case .scanner(let context, let problem, let mark, _)?, .parser(let context, let problem, let mark, _)?,
      .composer(let context, let problem, let mark, _)?:
      let place = context.map { " \($0.text) (line \($0.mark.line))" } ?? ""
      let hint =
        hasBareAddress(text, near: mark.line) ? "; an IPv6 address with a port stands in quotes: \"[::1]:1280\"" : ""
      return ConfigurationError(file: file, line: mark.line, unreadable + problem + place + hint)
    case .reader(let problem, let offset, _, _)?:
      let line = offset.map { text.prefix($0).reduce(1) { $0 + ($1.isNewline ? 1 : 0) } } ?? 0
      return ConfigurationError(file: file, line: line, unreadable + problem)
    default: return ConfigurationError(file: file, unreadable + "\(error)")
    }
  }

  /// YAML reads a value that begins with a bracket as a list.
  private static func hasBareAddress(_ text: String, near line: Int) -> Bool {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    guard line >= 1, line <= lines.count else { return false }
    return lines[max(line - 2, 0)..<line].contains { line in
      guard let open = line.firstRange(of: " ["), let close = line[open.upperBound...].firstRange(of: "]:") else {
        return false
      }
      return HostPort.address(line[open.upperBound..<close.lowerBound]) != nil
    }
  }

  /// Keys of one block mapping begin in the same column; a line that begins before it ends the mapping.
  /// - Returns: nil where the mapping is written in one line, or otherwise than people write.
  private static func secondLine(of key: String, after mark: Mark, in text: String) -> Int? {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    guard mark.line >= 1, mark.line <= lines.count else { return nil }
    for (index, line) in lines.enumerated().dropFirst(mark.line) {
      let content = line.drop { $0 == " " }
      if content.isEmpty || content.hasPrefix("#") { continue }
      let column = line.unicodeScalars.count - content.unicodeScalars.count + 1
      if column < mark.column { return nil }
      guard column == mark.column else { continue }
      for written in [key, "\"\(key)\"", "'\(key)'"] where content.hasPrefix(written) {
        if content.dropFirst(written.count).drop(while: { $0 == " " }).hasPrefix(":") { return index + 1 }
      }
    }
    return nil
  }
}
