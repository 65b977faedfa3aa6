public import JSON

/// The forms of members. `default` is the value where a body leaves the member out; without one it is required.
extension Member {
  /// The name that is unique within the kind.
  public static func name(_ path: Path<String>) -> Member<E> {
    let member = Member(
      "name", stored: nil, shape: .text, isRequired: true, source: .name,
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.set("name", &entity[keyPath: path])
      })
    return member.filterable().shown("Name").argument("Its name.").checked { (entity: E) throws(ModelError) in
      try entity.validate(name: entity[keyPath: path])
    }
  }

  public static func text(_ name: String, stored: String? = nil, _ path: Path<String>, default absent: String? = nil)
    -> Member<E>
  {
    Member(
      name, stored: stored, shape: .text, isRequired: absent == nil, source: .member([stored ?? name], .text),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.set(name, &entity[keyPath: path], or: absent)
      })
  }

  /// Blank text counts as none.
  public static func optionalText(_ name: String, _ path: Path<String?>) -> Member<E> {
    Member(
      name, stored: nil, shape: .text, isRequired: false, source: .member([name], .text),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.setOptional(name, &entity[keyPath: path])
      })
  }

  public static func flag(_ name: String, _ path: Path<Bool>, default absent: Bool? = nil) -> Member<E> {
    Member(
      name, stored: nil, shape: .boolean, isRequired: absent == nil, source: .member([name], .bool),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.set(name, &entity[keyPath: path], or: absent)
      })
  }

  public static func number(
    _ name: String, _ path: Path<Int>, in range: ClosedRange<Int> = Int.min...Int.max, default absent: Int? = nil
  ) -> Member<E> {
    Member(
      name, stored: nil, shape: .number(range), isRequired: absent == nil, source: .member([name], .number),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.set(name, &entity[keyPath: path], or: absent)
      })
  }

  /// A number from 0 to 65535, 0 where a body leaves it out.
  public static func cost(_ name: String, _ path: Path<Int>) -> Member<E> {
    number(name, path, in: 0...65535, default: 0).checked { (entity: E) throws(ModelError) in
      try entity.validate(cost: entity[keyPath: path], field: name)
    }
  }

  /// - Parameter elements: the kind that the texts are ids of, for sub-queries.
  public static func texts(_ name: String, _ path: Path<[String]>, of elements: EntityKind? = nil) -> Member<E> {
    Member(
      name, stored: nil, shape: .texts, isRequired: false, source: .set([name], elements: elements),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in try body.set(name, &entity[keyPath: path]) })
  }

  /// What roles select the entity by.
  public static func attributes(_ path: Path<[String]>) -> Member<E> {
    texts("roleAttributes", path).filterable().shown("Attributes").checked { (entity: E) throws(ModelError) in
      try entity.validate(attributes: entity[keyPath: path])
    }
  }

  /// Role entries that select entities of a kind, kept sorted.
  public static func roles(_ name: String, _ path: Path<[String]>, of kind: EntityKind) -> Member<E> {
    let member = Member(
      name, stored: nil, shape: .texts, isRequired: false, source: .set([name], elements: nil),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.setSorted(name, &entity[keyPath: path])
      })
    return member.meaning(.roles(kind, path)).filterable().checked { (entity: E) throws(ModelError) in
      try entity.validate(roles: entity[keyPath: path], field: name)
    }
  }

  /// The id of an entity of a kind, which must exist.
  /// - Parameter shownAs: the member of details that refers to it.
  public static func reference(
    _ name: String, stored: String? = nil, _ path: Path<String>, to kind: EntityKind, shownAs: String? = nil
  ) -> Member<E> {
    text(name, stored: stored, path).meaning(.reference(kind, path), shownAs: shownAs)
  }

  /// One of a set of words.
  /// - Parameters:
  ///   - words: what errors say.
  ///   - shape: the words that a body may have, where they are others.
  public static func word<W: Sendable>(
    _ name: String, stored: String? = nil, _ path: Path<W>, _ words: [String], shape: [String]? = nil,
    default absent: W? = nil, parse: @escaping @Sendable (String) -> W?
  ) -> Member<E> {
    Member(
      name, stored: stored, shape: .word(shape ?? words), isRequired: absent == nil,
      source: .member([stored ?? name], .text),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.setWord(name, &entity[keyPath: path], or: absent, words: words, parse)
      })
  }

  /// How several attributes of role lists combine; the command line says AnyOf unless told otherwise.
  public static func semantic(_ path: Path<Semantic>) -> Member<E> {
    word("semantic", path, ["AllOf", "AnyOf"]) { Semantic(text: $0) }.filterable()
      .option("How several attributes combine: AnyOf or AllOf.", value: "semantic", initial: "AnyOf")
  }

  public static func precedence(_ name: String, _ path: Path<Precedence>) -> Member<E> {
    word(name, path, Precedence.allCases.map(\.rawValue), default: .default) { Precedence(rawValue: $0) }
  }

  public static func object(_ name: String, _ path: Path<JSONObject>, isRequired: Bool = false) -> Member<E> {
    Member(
      name, stored: nil, shape: .object, isRequired: isRequired, source: .object([name]),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.set(name, &entity[keyPath: path], or: isRequired ? nil : [:])
      })
  }

  public static func optionalObject(_ name: String, _ path: Path<JSONObject?>) -> Member<E> {
    Member(
      name, stored: nil, shape: .object, isRequired: false, source: .object([name]),
      read: { (body: EntityBody, entity: inout E) throws(ModelError) in
        try body.setOptional(name, &entity[keyPath: path])
      })
  }

  /// What no other form reads.
  /// - Parameter read: takes the value from a body.
  public static func custom(
    _ name: String, stored: String? = nil, _ shape: BodyShape, isRequired: Bool = false,
    source: FilterName.Source? = nil,
    read: @escaping @Sendable (EntityBody, inout E) throws(ModelError) -> Void
  ) -> Member<E> {
    Member(
      name, stored: stored, shape: shape, isRequired: isRequired, source: source ?? .member([stored ?? name], .any),
      read: read)
  }

  static var tags: Member<E> {
    custom("tags", .object) { (body: EntityBody, entity: inout E) throws(ModelError) in
      try body.set("tags", &entity.tags)
    }
  }
}
