import JSON

/// One member of a kind of entity that operators give or change: its name on the wire, where it stands in the entity,
/// what a body may say for it, and what else follows from it. Made by the functions of `Member+Forms.swift`, completed
/// by those below: `.text("address", \.address).filterable().shown("Address")`.
public struct Member<E: Entity>: Sendable {
  public typealias Path<Value> = any WritableKeyPath<E, Value> & Sendable

  /// What else the value is than a value.
  public enum Meaning: Sendable {
    case plain
    /// The id of an entity, which must exist.
    case reference(EntityKind, Path<String>)
    /// Role entries, whose ids must exist.
    case roles(EntityKind, Path<[String]>)
  }

  /// How the command line takes it.
  public enum Word: Sendable {
    case none
    /// Its place is among the words of `create`; `update` has an option for it, unless it never changes.
    case argument(help: String)
    /// - `initial`: what `create` sends when nothing is given.
    case option(short: Character?, value: String, help: String, initial: String?)
  }

  /// In bodies.
  public let name: String
  /// In documents.
  public let stored: String
  /// What a body may give, without saying whether it must.
  public let shape: BodyShape
  /// A replacement must give it.
  public let isRequired: Bool
  public private(set) var isRequiredToCreate: Bool
  /// Given when the entity is made, and never changed.
  public private(set) var isCreateOnly = false
  public private(set) var meaning = Meaning.plain
  /// The member of details that refers to the entity named: `configType` beside `configTypeId`.
  public private(set) var referenceName: String?
  public private(set) var filters: [FilterName] = []
  public private(set) var index: IndexedMember?
  /// Header of its column in lists.
  public private(set) var column: String?
  public private(set) var word = Word.none

  private let source: FilterName.Source
  private let take: @Sendable (EntityBody, inout E) throws(ModelError) -> Void
  private var checks: [@Sendable (E) throws(ModelError) -> Void] = []

  /// - Parameters:
  ///   - source: what a filter takes it for.
  ///   - read: takes the value from a body into the entity.
  init(
    _ name: String, stored: String?, shape: BodyShape, isRequired: Bool, source: FilterName.Source,
    read: @escaping @Sendable (EntityBody, inout E) throws(ModelError) -> Void
  ) {
    self.name = name
    self.stored = stored ?? name
    self.shape = shape
    self.isRequired = isRequired
    self.isRequiredToCreate = isRequired
    self.source = source
    self.take = read
  }

  /// Takes the value from a body.
  func read(_ body: EntityBody, into entity: inout E) throws(ModelError) {
    if body.mode == .create {
      guard !isRequiredToCreate || body.members[name].map({ !$0.isNull }) ?? false else {
        throw ModelError(field: name, reason: "\(name) in body is required")
      }
    } else if isCreateOnly {
      return
    }
    try take(body, &entity)
  }

  /// Judges what the entity has.
  func check(_ entity: E) throws(ModelError) { for check in checks { try check(entity) } }

  private func with(_ change: (inout Member<E>) -> Void) -> Member<E> {
    var copy = self
    change(&copy)
    return copy
  }

  public func requiredToCreate() -> Member<E> { with { $0.isRequiredToCreate = true } }

  public func createOnly() -> Member<E> { with { $0.isCreateOnly = true } }

  /// Filters may name it.
  /// - Parameters:
  ///   - name: in filters, where that is another one.
  ///   - isListed: whether `meta.filterableFields` names it.
  public func filterable(as name: String? = nil, isListed: Bool = true) -> Member<E> {
    with { $0.filters.append(FilterName(name ?? $0.name, $0.source, isListed: isListed)) }
  }

  /// Entities are looked up by it.
  public func indexed(isUnique: Bool = false) -> Member<E> {
    with { $0.index = IndexedMember($0.stored, isUnique: isUnique) }
  }

  public func checked(_ check: @escaping @Sendable (E) throws(ModelError) -> Void) -> Member<E> {
    with { $0.checks.append(check) }
  }

  /// Lists have a column of it.
  public func shown(_ header: String) -> Member<E> { with { $0.column = header } }

  /// A word of `create`; in the order of the members.
  public func argument(_ help: String) -> Member<E> { with { $0.word = .argument(help: help) } }

  /// An option of `create` and `update`, named as the member.
  public func option(_ help: String, short: Character? = nil, value: String, initial: String? = nil) -> Member<E> {
    with { $0.word = .option(short: short, value: value, help: help, initial: initial) }
  }

  func meaning(_ meaning: Meaning, shownAs referenceName: String? = nil) -> Member<E> {
    with {
      $0.meaning = meaning
      $0.referenceName = referenceName
    }
  }
}
