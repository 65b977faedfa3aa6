/// The paging parameters of a list request as they arrived (client spec 1.8); `skip`, `limit` and `sort by` inside a
/// filter win.
public struct PageRequest: Sendable, Equatable {
  public static let defaultLimit = 10
  /// Of a request that names a number. Whoever wants everything says so.
  public static let maximumLimit = 500
  public static let maximumOffset = 100_000

  public var limit: Int?
  public var offset: Int?
  public var sort: [SortField]

  public init(limit: Int? = nil, offset: Int? = nil, sort: [SortField] = []) {
    self.limit = limit
    self.offset = offset
    self.sort = sort
  }

  /// How many entries are returned at most, and what the answer's `pagination.limit` says: the largest integer for
  /// everything.
  public struct Limit: Sendable, Equatable {
    public var count: Int

    /// All entries are wanted, however many there are.
    public var isUnlimited: Bool { count == .max }
  }

  /// The rules of client spec 1.8 and management spec 4.3: 0 and below -1 mean 10, -1 and `none` everything, above 500
  /// means 500; offsets end at 100000.
  public func resolved(with query: FilterQuery? = nil) -> (limit: Limit, offset: Int) {
    let wanted: Int? =
      switch query?.limit {
      case .count(let count): count
      case FilterLimit.none?: -1
      case nil: limit
      }
    let count =
      switch wanted ?? 0 {
      case -1: Int.max
      case ...0: Self.defaultLimit
      case let count: min(count, Self.maximumLimit)
      }
    let start = min(max(query?.skip ?? offset ?? 0, 0), Self.maximumOffset)
    return (Limit(count: count), start)
  }
}

/// One page of a list.
public struct Page<Item> {
  public var items: [Item]
  /// Matches over all pages.
  public var totalCount: Int
  public var limit: Int
  public var offset: Int

  public init(items: [Item], totalCount: Int, limit: Int, offset: Int) {
    self.items = items
    self.totalCount = totalCount
    self.limit = limit
    self.offset = offset
  }

  public func map<Other>(_ transform: (Item) throws -> Other) rethrows -> Page<Other> {
    Page<Other>(items: try items.map(transform), totalCount: totalCount, limit: limit, offset: offset)
  }
}

extension Page: Sendable where Item: Sendable {}
extension Page: Equatable where Item: Equatable {}
