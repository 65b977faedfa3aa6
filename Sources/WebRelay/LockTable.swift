import Foundation

/// The write locks of a drive (RFC 4918, 6 and 7). Knows paths and tokens, neither files nor clocks: `now` is given, in
/// seconds of any clock that only goes forward.
struct LockTable: Sendable {
  struct Lock: Sendable, Equatable {
    /// A URI of its own.
    let token: String
    let path: FilePath
    let isDirectory: Bool
    let isExclusive: Bool
    /// Whether it covers everything below too.
    let isDeep: Bool
    /// What the client says of its user.
    let owner: XMLElement?
    fileprivate(set) var ends: Int64
  }

  enum Refusal: Error, Equatable {
    /// Locks are in the way, at these places.
    case locked([FilePath])
    /// There are as many locks as there may be.
    case full
  }

  /// Seconds that a lock lasts at most, and where the client does not say. Who works longer refreshes it.
  static let longest: Int64 = 3600
  /// Locks of a drive.
  static let limit = 1000
  /// Shared ones on one place: they are told of everything that they cover.
  static let limitOfPlace = 16

  private var byToken: [String: Lock] = [:]
  private var byPath: [FilePath: [String]] = [:]

  var count: Int { byToken.count }
  func isFull(at path: FilePath) -> Bool {
    byToken.count >= Self.limit || byPath[path]?.count ?? 0 >= Self.limitOfPlace
  }

  /// Those that cover a path: its own, and deep ones above.
  func covering(_ path: FilePath) -> [Lock] {
    guard !byToken.isEmpty else { return [] }
    var found: [Lock] = []
    for length in 0...path.count {
      for token in byPath[Array(path.prefix(length))] ?? [] {
        if let lock = byToken[token], lock.isDeep || length == path.count { found.append(lock) }
      }
    }
    return found
  }

  /// Those on what is below a path.
  private func below(_ path: FilePath) -> [Lock] {
    byToken.values.filter { $0.path.count > path.count && $0.path.starts(with: path) }
  }

  /// What a change touches.
  enum Scope {
    /// A file's content, or properties.
    case itself
    /// A directory gets this entry.
    case addition
    /// A directory loses this entry, and it everything below.
    case removal
    /// It is replaced with everything below, and stays an entry of its directory.
    case replacement
  }

  /// Whether who shows these tokens may change something. - Throws: `locked`.
  func check(_ path: FilePath, _ scope: Scope, _ tokens: Set<String>) throws(Refusal) {
    var closed = blocking(path, tokens)
    if scope == .addition || scope == .removal, !path.isEmpty { closed += blocking(path.dropLast(), tokens) }
    if scope == .removal || scope == .replacement {
      for lock in below(path) { closed += blocking(lock.path, tokens) }
    }
    guard closed.isEmpty else { throw .locked(Array(Set(closed))) }
  }

  /// The places of the locks over a path, unless one of them is shown: of locks that are shared each holder has one.
  private func blocking(_ path: some Collection<FileName>, _ tokens: Set<String>) -> [FilePath] {
    let locks = covering(Array(path))
    return locks.contains { tokens.contains($0.token) } ? [] : locks.map(\.path)
  }

  /// Where the locks are that do not go with a new one.
  func conflicts(_ path: FilePath, isExclusive: Bool, isDeep: Bool) -> [FilePath] {
    Array(Set((covering(path) + (isDeep ? below(path) : [])).filter { isExclusive || $0.isExclusive }.map(\.path)))
  }

  /// - Parameter seconds: that it is to last.
  mutating func add(
    _ path: FilePath, isDirectory: Bool, isExclusive: Bool, isDeep: Bool, owner: XMLElement?, seconds: Int64, now: Int64
  ) throws(Refusal) -> Lock {
    let others = conflicts(path, isExclusive: isExclusive, isDeep: isDeep)
    guard others.isEmpty else { throw .locked(others) }
    guard !isFull(at: path) else { throw .full }
    let lock = Lock(
      token: "urn:uuid:" + UUID().uuidString.lowercased(), path: path, isDirectory: isDirectory,
      isExclusive: isExclusive, isDeep: isDeep,
      owner: owner,
      ends: now + seconds)
    byToken[lock.token] = lock
    byPath[path, default: []].append(lock.token)
    return lock
  }

  /// Has a lock that covers a path last anew. nil when there is none of these tokens.
  mutating func refresh(_ path: FilePath, _ tokens: Set<String>, seconds: Int64, now: Int64) -> Lock? {
    guard var lock = covering(path).first(where: { tokens.contains($0.token) }) else { return nil }
    lock.ends = now + seconds
    byToken[lock.token] = lock
    return lock
  }

  /// Removes a lock that covers a path. - Returns: whether there was one.
  mutating func remove(_ token: String, covering path: FilePath) -> Bool {
    guard covering(path).contains(where: { $0.token == token }) else { return false }
    forget(token)
    return true
  }

  /// Nothing is at a path any more, or something else: its locks and those below are gone.
  mutating func forget(from path: FilePath) {
    for lock in byToken.values where lock.path.starts(with: path) { forget(lock.token) }
  }

  mutating func expire(now: Int64) {
    for lock in byToken.values where lock.ends <= now { forget(lock.token) }
  }

  private mutating func forget(_ token: String) {
    guard let lock = byToken.removeValue(forKey: token) else { return }
    byPath[lock.path]?.removeAll { $0 == token }
    if byPath[lock.path]?.isEmpty == true { byPath[lock.path] = nil }
  }

  /// What a `Timeout` field asks for: `Infinite`, or `Second-` and a number, the first of several that is understood.
  static func seconds(_ field: String?) -> Int64 {
    for word in (field ?? "").split(separator: ",") {
      let word = word.trimmed.lowercased()
      if word == "infinite" { return longest }
      guard word.hasPrefix("second-"), word.dropFirst(7).utf8.allSatisfy({ (48...57).contains($0) }),
        word.utf8.count > 7
      else { continue }
      return Int64(word.dropFirst(7)).map { min(max($0, 1), longest) } ?? longest
    }
    return longest
  }
}
