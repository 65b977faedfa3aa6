internal import GRDB
import JSON
public import Model

extension StoreReader {
  /// One page of the entities that match.
  ///
  /// - Parameters:
  ///   - filter: Condition, and optionally order and page, which win over `page`.
  ///   - page: The request's paging parameters; the rules are those of `PageRequest`. A page without limit is as long
  ///     as the collection: where that may be much, ask for `identifiers`.
  ///   - symbols: The names that may be used.
  ///   - ids: When given, only these entities are considered (what the caller may see).
  ///   - runtime: What the running controller knows. Without it such symbols cannot be used.
  /// - Throws: `FilterError` for names that the table does not have or that are used wrongly.
  public func query<E: Entity>(
    _ type: E.Type, filter: FilterQuery? = nil, page: PageRequest = PageRequest(), symbols: SymbolTable = .of(E.kind),
    ids: Set<String>? = nil,
    runtime: (any RuntimeSymbols)? = nil
  ) throws -> Page<E> {
    let found = try select(["id", "document"], filter, page, symbols, ids, runtime)
    return try found.map { try Self.decode($0["document"], id: $0["id"]) }
  }

  /// The ids of one page, in its order.
  public func identifiers(
    filter: FilterQuery? = nil, page: PageRequest = PageRequest(), symbols: SymbolTable, ids: Set<String>? = nil,
    runtime: (any RuntimeSymbols)? = nil
  ) throws -> Page<String> {
    try select(["id"], filter, page, symbols, ids, runtime).map { $0["id"] }
  }

  private func select(
    _ columns: [String], _ filter: FilterQuery?, _ page: PageRequest, _ symbols: SymbolTable, _ ids: Set<String>?,
    _ runtime: (any RuntimeSymbols)?
  ) throws -> Page<Row> {
    let sort = (filter?.sort ?? []).isEmpty ? page.sort : filter?.sort ?? []
    var maker = FilterSQL(self, runtime)
    let alias = maker.nextAlias()
    let source = try maker.source(filter?.predicate, symbols, alias, ids)
    var order: SQLText = ""
    for field in sort {
      order += "\(try maker.order(by: field.name, symbols, alias: alias)) \(own: field.ascending ? "ASC" : "DESC"), "
    }
    let (limit, offset) = page.resolved(with: filter)
    let list = columns.map { "\(alias).\($0) AS \($0)" }.joined(separator: ", ")
    let statement: SQLText =
      "SELECT \(own: list)\(source) ORDER BY \(order)\(own: alias).id ASC LIMIT \(bind: limit.count) OFFSET \(bind: offset)"
    let rows = try Row.fetchAll(database, sql: statement.text, arguments: statement.statementArguments)
    var total = offset + rows.count
    // A page that is not full ends the collection; any other, and an empty one that begins behind the end, does not
    // tell how long it is.
    if rows.count == limit.count || rows.isEmpty && offset > 0 {
      let counting: SQLText = "SELECT count(*)\(source)"
      total = try Int.fetchOne(database, sql: counting.text, arguments: counting.statementArguments) ?? 0
    }
    return Page(items: rows, totalCount: total, limit: limit.count, offset: offset)
  }

  /// The ids of all entities of a kind that meet a condition.
  func ids(_ kind: EntityKind, matching predicate: Filter, _ runtime: (any RuntimeSymbols)?) throws -> Set<String> {
    var maker = FilterSQL(self, runtime)
    let alias = maker.nextAlias()
    let source = try maker.source(predicate, .of(kind), alias, nil)
    let statement: SQLText = "SELECT \(own: alias).id\(source)"
    return try String.fetchSet(database, sql: statement.text, arguments: statement.statementArguments)
  }
}

extension FilterSQL {
  /// FROM and WHERE of a question for entities of the table's kind.
  fileprivate mutating func source(_ predicate: Filter?, _ table: SymbolTable, _ alias: String, _ ids: Set<String>?)
    throws -> SQLText
  {
    var source: SQLText = " FROM documents \(own: alias) WHERE \(own: alias).kind = \(bind: table.kind.rawValue)"
    if let ids {
      source += " AND \(own: alias).id IN (SELECT value FROM json_each(\(bind: JSONValue(ids.sorted()).text)))"
    }
    if let predicate {
      if let seek = Self.seek(predicate, table, alias: alias) { source += " AND \(seek)" }
      source += " AND (\(try condition(predicate, table, alias: alias)))"
    }
    return source
  }
}

extension SymbolTable {
  /// Whether an index leads to the answer; if not, every entity of the kind is looked at, or whole collections of
  /// others are, and the question belongs in `Store.search`.
  public func isIndexed(_ query: FilterQuery?, sort: [SortField]) -> Bool {
    if let predicate = query?.predicate, predicate != .constant(true) {
      return FilterSQL.seek(predicate, self, alias: "") != nil && !reaches(out: predicate)
    }
    let sort = (query?.sort ?? []).isEmpty ? sort : query?.sort ?? []
    return sort.first.map { $0.name == "id" } ?? true
  }

  /// Whether a filter asks for more than what stands in the entities themselves: what policies bring together, or a
  /// sub-query.
  private func reaches(out filter: Filter) -> Bool {
    switch filter {
    case .constant, .symbol, .comparison(.symbol, _): false
    case .not(let inner): reaches(out: inner)
    case .and(let terms), .or(let terms): terms.contains(where: reaches(out:))
    case .isEmpty(let set), .comparison(.count(let set), _): reaches(out: set)
    case .comparison(.anyOf(let name), _), .comparison(.allOf(let name), _): reaches(out: FilterSet.symbol(name))
    }
  }

  private func reaches(out set: FilterSet) -> Bool {
    if set.query != nil { return true }
    return if case .relation? = try? source(of: set.name) { true } else { false }
  }
}
