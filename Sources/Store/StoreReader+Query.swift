internal import GRDB
public import Model

/// Values of the symbols that only the running controller knows, such as `online` or `identities`: entity id, symbol name.
public typealias RuntimeSymbols = @Sendable (_ id: String, _ symbol: String) -> FilterValue?

extension StoreReader {
  /// One page of the entities that match.
  ///
  /// - Parameters:
  ///   - filter: Condition, and optionally order and page, which win over `page`.
  ///   - page: The request's paging parameters; the rules are those of `PageRequest`.
  ///   - ids: When given, only these entities are considered (what the caller may see).
  ///   - runtime: Values of runtime symbols. Without it they are unknown symbols.
  /// - Throws: `FilterError` for names that the table does not have or that are used wrongly.
  public func query<E: Entity>(
    _ type: E.Type, filter: FilterQuery? = nil, page: PageRequest = PageRequest(), symbols: SymbolTable = .of(E.kind), ids: Set<String>? = nil,
    runtime: RuntimeSymbols? = nil
  ) throws -> Page<E> {
    let sort = (filter?.sort ?? []).isEmpty ? page.sort : filter?.sort ?? []
    var usesRuntime = try filter?.predicate?.usesRuntime(symbols) ?? false
    for field in sort { if case .runtime = try symbols.source(of: field.name) { usesRuntime = true } }
    if usesRuntime {
      return try queryInMemory(type, filter: filter ?? .all, page: page, symbols: symbols, ids: ids, runtime: runtime)
    }
    var condition = FilterSQL()
    let alias = condition.nextAlias()
    let predicate = try filter?.predicate.map { try condition.condition($0, symbols, alias: alias) } ?? "1"
    var arguments: StatementArguments = [E.kind.rawValue]
    var restriction = ""
    if let ids {
      restriction = " AND \(alias).id IN (SELECT value FROM json_each(?))"
      arguments += [JSONValue(ids.sorted()).text]
    }
    arguments += condition.arguments
    let source = "FROM documents \(alias) WHERE \(alias).kind = ?\(restriction) AND (\(predicate))"

    // The order's sub-selects must not reuse the outer alias.
    var order = FilterSQL()
    _ = order.nextAlias()
    var terms: [String] = []
    for field in sort {
      terms.append("\(try order.order(by: field.name, symbols, alias: alias)) \(field.ascending ? "ASC" : "DESC")")
    }
    terms.append("\(alias).id ASC")
    let (limit, offset) = page.resolved(with: filter)
    let total = try Int.fetchOne(database, sql: "SELECT count(*) \(source)", arguments: arguments) ?? 0
    var pageArguments = arguments
    pageArguments += order.arguments
    pageArguments += [limit.count, offset]
    let rows = try Row.fetchAll(
      database, sql: "SELECT \(alias).id AS id, \(alias).document AS document \(source) ORDER BY \(terms.joined(separator: ", ")) LIMIT ? OFFSET ?",
      arguments: pageArguments)
    return Page(items: try rows.map { try Self.decode($0["document"], id: $0["id"]) }, totalCount: total, limit: limit.echoed, offset: offset)
  }

  private func queryInMemory<E: Entity>(
    _ type: E.Type, filter: FilterQuery, page: PageRequest, symbols: SymbolTable, ids: Set<String>?, runtime: RuntimeSymbols?
  ) throws -> Page<E> {
    var candidates: [(id: String, document: JSONValue)] = []
    let rows = try Row.fetchCursor(database, sql: "SELECT id, document FROM documents WHERE kind = ? ORDER BY id", arguments: [E.kind.rawValue])
    while let row = try rows.next() {
      let id: String = row["id"]
      guard ids?.contains(id) ?? true else { continue }
      candidates.append((id, try Self.parse(row["document"], kind: E.kind, id: id)))
    }
    let result = try filter.apply(to: candidates, filterable: symbols.filterable, page: page) { candidate, name in
      self.value(of: name, id: candidate.id, document: candidate.document, symbols: symbols, runtime: runtime)
    }
    return try result.map { candidate in
      do { return try candidate.document.decode(E.self) } catch {
        throw StoreError.unreadable(kind: E.kind, id: candidate.id, reason: "\(error)")
      }
    }
  }

  private func value(of name: String, id: String, document: JSONValue, symbols: SymbolTable, runtime: RuntimeSymbols?) -> FilterValue? {
    func find(_ path: [String], in document: JSONValue?) -> JSONValue { path.reduce(document) { $0?[$1] } ?? .null }
    func scalar(_ value: JSONValue, _ type: SymbolTable.ValueType) -> FilterValue? {
      if type == .bool { return .scalar(.bool(value.boolValue ?? false)) }
      if type == .datetime, let moment = value.stringValue.flatMap({ Timestamp($0) }) { return .scalar(.datetime(moment)) }
      return FilterLiteral(value).map(FilterValue.scalar)
    }
    guard let source = try? symbols.source(of: name) else { return nil }
    switch source {
    case .id: return .string(id)
    case .name: return .string(document["name"]?.stringValue)
    case .createdAt: return scalar(document["createdAt"] ?? .null, .datetime)
    case .updatedAt: return scalar(document["updatedAt"] ?? .null, .datetime)
    case .isSystem: return scalar(document["isSystem"] ?? .null, .bool)
    case .member(let path, let type): return scalar(find(path, in: document), type)
    case .set(let path, _): return .strings(find(path, in: document).stringArrayValue ?? [])
    case .linked(let path, let kind, let target, let type):
      guard let other = find(path, in: document).stringValue, let text = try? self.document(kind, other) else { return .scalar(.null) }
      return scalar(find(target, in: try? Self.parse(text, kind: kind, id: other)), type)
    case .reverse(let kind, let path):
      let ids = try? String.fetchAll(
        database, sql: "SELECT id FROM documents WHERE kind = ? AND json_extract(document, ?) = ?",
        arguments: [kind.rawValue, "$" + path.map { ".\"\($0)\"" }.joined(), id])
      return .strings(ids ?? [])
    case .object: return nil
    case .runtime: return runtime?(id, name)
    }
  }
}
