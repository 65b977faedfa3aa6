public import Model

/// What the names in a filter mean for one kind of entity (management spec 4.3). Only declared names can be used.
public struct SymbolTable: FilterSymbols {
  public let kind: EntityKind
  public private(set) var symbols: [String: FilterName] = [:]
  /// Members of documents that an index leads to.
  let indexed: Set<String>

  init(kind: EntityKind, _ symbols: [FilterName], indexed: Set<String> = []) {
    self.kind = kind
    self.indexed = indexed
    for symbol in symbols { self.symbols[symbol.name] = symbol }
  }

  /// What the declaration of a kind says.
  public init<E: DeclaredEntity>(of type: E.Type) { self = Self.tables[E.kind] ?? Self.made(type) }

  /// By name, for the kinds of the network; of others, what all kinds have.
  public static func of(_ kind: EntityKind) -> SymbolTable {
    tables[kind] ?? SymbolTable(kind: kind, FilterName.common)
  }

  private static let tables: [EntityKind: SymbolTable] = BuiltIn.kinds.reduce(into: [:]) { tables, type in
    let table = made(type)
    tables[table.kind] = table
  }

  private static func made<E: DeclaredEntity>(_ type: E.Type) -> SymbolTable {
    let declaration = E.declaration
    return SymbolTable(
      kind: declaration.collection, FilterName.common + declaration.filters,
      indexed: Set(declaration.indexed.map(\.field)))
  }

  /// The names of `meta.filterableFields`, sorted.
  public var filterable: [String] { symbols.values.filter(\.isListed).map(\.name).sorted() }

  /// The meaning of a name; free members are found below their object.
  func source(of name: String) throws(FilterError) -> FilterName.Source {
    if let symbol = symbols[name] { return symbol.source }
    if let dot = name.firstIndex(of: "."), case .object(let path)? = symbols[String(name[..<dot])]?.source {
      let members = name[name.index(after: dot)...].split(separator: ".", omittingEmptySubsequences: false).map(
        String.init)
      return .member(path + members, .any)
    }
    throw .unknownSymbol(name, filterable: filterable)
  }

  public func symbol(_ name: String) throws(FilterError) -> FilterSymbol {
    switch try source(of: name) {
    case .id, .name: return .scalar(.text)
    case .createdAt, .updatedAt: return .scalar(.datetime)
    case .isSystem, .live: return .scalar(.bool)
    case .member(_, let type), .linked(_, _, _, let type): return .scalar(type)
    case .set(_, let elements), .relation(let elements): return .set(members: elements.map { SymbolTable.of($0) })
    case .reverse(let kind, _): return .set(members: SymbolTable.of(kind))
    case .object: throw .wrongUse(symbol: name, reason: "is an object: name one of its members, such as \(name).key")
    }
  }

  /// - Throws: for a name that nothing can be ordered by.
  public func checkOrder(by name: String) throws(FilterError) {
    if case .set = try symbol(name) { throw .wrongUse(symbol: name, reason: "is a set: nothing can be ordered by it") }
  }

  /// A table that knows these names and no others. Sets become plain strings: sub-queries would reach members of other
  /// kinds.
  public func only(_ names: Set<String>) -> SymbolTable {
    SymbolTable(
      kind: kind,
      symbols.values.filter { names.contains($0.name) }.map { symbol in
        let source: FilterName.Source =
          switch symbol.source {
          case .set(let path, _): .set(path, elements: nil)
          case .relation: .relation(elements: nil)
          default: symbol.source
          }
        return FilterName(symbol.name, source, isListed: symbol.isListed)
      }, indexed: indexed)
  }
}
