public import JSON

/// A document that creates or changes an entity, read member by member (management-and-model.md 1.1). A member that is
/// absent or null keeps its value in a patch; otherwise it takes the value given as `or`, and without one it is
/// required.
public struct EntityBody: Sendable {
  public enum Mode: Sendable { case create, replace, patch }

  public let members: JSONObject
  public let mode: Mode

  public init(members: JSONObject, mode: Mode) {
    self.members = members
    self.mode = mode
  }

  private func read<T>(_ name: String, _ expected: String, _ target: inout T, or absent: T?, _ parse: (JSONValue) -> T?)
    throws(ModelError)
  {
    guard let value = members[name], !value.isNull else {
      if mode == .patch { return }
      guard let absent else { throw ModelError(field: name, reason: "\(name) in body is required") }
      target = absent
      return
    }
    guard let typed = parse(value) else {
      throw ModelError(
        field: name, reason: "\(name) in body must be of type \(expected): \"\(value.typeName)\"", value: value)
    }
    target = typed
  }

  public func set(_ name: String, _ target: inout String, or absent: String? = nil) throws(ModelError) {
    try read(name, "string", &target, or: absent, \.stringValue)
  }

  /// Blank text counts as none.
  public func setOptional(_ name: String, _ target: inout String?) throws(ModelError) {
    try read(name, "string", &target, or: .some(nil)) { value in
      value.stringValue.map { text in text.allSatisfy(\.isWhitespace) ? nil : text }
    }
  }

  public func set(_ name: String, _ target: inout Bool, or absent: Bool? = nil) throws(ModelError) {
    try read(name, "boolean", &target, or: absent, \.boolValue)
  }

  public func set(_ name: String, _ target: inout Int, or absent: Int? = nil) throws(ModelError) {
    try read(name, "integer", &target, or: absent, \.intValue)
  }

  public func set(_ name: String, _ target: inout [String], or absent: [String] = []) throws(ModelError) {
    try read(name, "array of strings", &target, or: absent, \.stringArrayValue)
  }

  /// A set written as a list: sorted, each element once.
  public func setSorted(_ name: String, _ target: inout [String]) throws(ModelError) {
    try read(name, "array of strings", &target, or: []) { $0.stringArrayValue.map { Set($0).sorted() } }
  }

  public func set(_ name: String, _ target: inout JSONObject, or absent: JSONObject? = [:]) throws(ModelError) {
    try read(name, "object", &target, or: absent, \.objectValue)
  }

  public func setOptional(_ name: String, _ target: inout JSONObject?) throws(ModelError) {
    try read(name, "object", &target, or: .some(nil)) { value in value.objectValue.map(Optional.some) }
  }

  public func setMap<T>(_ name: String, _ expected: String, _ target: inout [String: T], _ parse: (JSONValue) -> T?)
    throws(ModelError)
  {
    try read(name, "object of \(expected)", &target, or: [:]) { value in
      guard let members = value.objectValue else { return nil }
      var result: [String: T] = [:]
      for (key, value) in members {
        guard let typed = parse(value) else { return nil }
        result[key] = typed
      }
      return result
    }
  }

  /// One of a set of words.
  public func setWord<W>(
    _ name: String, _ target: inout W, or absent: W? = nil, words: [String], _ parse: (String) -> W?
  )
    throws(ModelError)
  {
    var text = ""
    try set(name, &text, or: absent == nil ? nil : "")
    if text.isEmpty, members[name].map(\.isNull) ?? true {
      if mode != .patch, let absent { target = absent }
      return
    }
    guard let word = parse(text) else {
      throw ModelError(
        field: name, reason: "\(name) in body should be one of [\(words.joined(separator: " "))]", value: .string(text))
    }
    target = word
  }

  public func setTime(_ name: String, _ target: inout Timestamp) throws(ModelError) {
    try read(name, "date-time", &target, or: nil) { $0.stringValue.flatMap { Timestamp($0) } }
  }

  /// The members of a nested object, read in the same mode.
  public func nested(_ name: String, required: Bool) throws(ModelError) -> EntityBody? {
    var object: JSONObject = [:]
    try set(name, &object, or: required ? nil : [:])
    if members[name].map(\.isNull) ?? true { return mode == .patch ? nil : EntityBody(members: [:], mode: mode) }
    return EntityBody(members: object, mode: mode)
  }
}
