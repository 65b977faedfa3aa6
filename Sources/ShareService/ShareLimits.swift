import Foundation
import Model
import NIOCore
public import ShareFrontend
import SwiftletShare
import Transport

/// What accounts may have and move (zrok.md 1.10). Counts are checked when something is made; bytes from what routers
/// count.
public struct ShareLimits: Sendable {
  /// Numbers of things; nil is unlimited.
  public struct Counts: Sendable, Equatable {
    public var environments: Int?
    public var shares: Int?
    public var reservedNames: Int?
    /// Accesses of one private share.
    public var accesses: Int?

    public init(environments: Int? = nil, shares: Int? = nil, reservedNames: Int? = nil, accesses: Int? = nil) {
      self.environments = environments
      self.shares = shares
      self.reservedNames = reservedNames
      self.accesses = accesses
    }
  }

  /// Bytes in a period; nil is unlimited.
  public struct Bandwidth: Sendable, Equatable {
    /// Seconds.
    public var period: Int
    /// From visitors, to visitors, both together.
    public var rx: Int?
    public var tx: Int?
    public var total: Int?

    public init(period: Int, rx: Int? = nil, tx: Int? = nil, total: Int? = nil) {
      self.period = period
      self.rx = rx
      self.tx = tx
      self.total = total
    }

    var isUnlimited: Bool { rx == nil && tx == nil && total == nil }

    func isExceeded(by sample: ShareUsageSample) -> Bool {
      func exceeds(_ value: Int, _ limit: Int?) -> Bool { limit.map { value >= $0 } ?? false }
      return exceeds(sample.rx, rx) || exceeds(sample.tx, tx) || exceeds(sample.total, total)
    }
  }

  /// Overrides the general limits for the accounts it was applied to.
  public struct LimitClass: Sendable {
    public enum Action: String, Sendable { case warning, limit }

    /// What an account has one class for at most.
    enum Slot: Hashable {
      case counts
      case bandwidth(Action)
      case backend(ShareOptions.Backend)
    }

    let id: Int
    let label: String
    /// Only for what shares of this mode move; nil for everything.
    let backendMode: ShareOptions.Backend?
    let counts: Counts
    let bandwidth: Bandwidth
    let action: Action

    var slot: Slot {
      if let backendMode { return .backend(backendMode) }
      return bandwidth.isUnlimited ? .counts : .bandwidth(action)
    }
  }

  public var counts = Counts()
  public var warning: Bandwidth?
  public var limit: Bandwidth?
  public var classes: [LimitClass] = []
  /// E-mail addresses of accounts that no limit holds for.
  public var exempt: Set<String> = []

  /// Of the public frontend.
  public var frontend = FrontendLimits()

  /// When the file was changed; where there is none, when they were made.
  var changed = Timestamp.now()

  public init() {}

  /// Reads a file of limits: the `limits` of upstream's controller configuration, and beside them `classes`,
  /// `limitless` and `frontend`.
  ///
  /// - Throws: `ConfigurationError` with every line to look at.
  public static func load(path: String) throws -> ShareLimits {
    let document = try StrictDocument(path: path)
    var limits = try ShareLimits(document.root.section("limits") ?? document.root)
    try document.finish()
    if let changed = try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date {
      limits.changed = Timestamp(secondsSinceEpoch: Int64(changed.timeIntervalSince1970))
    }
    return limits
  }

  init(_ section: StrictSection) throws {
    // Upstream's pace: here usage is judged as it comes.
    section.accept("cycle")
    counts = try Self.counts(section)
    exempt = Set(try section.list("limitless") ?? []).reduce(into: []) { $0.insert($1.lowercased()) }
    if let section = try section.section("frontend") { frontend = try Self.frontend(section) }
    if let bandwidth = try section.section("bandwidth") {
      let period = try Self.period(bandwidth, "period") ?? 24 * 3600
      warning = try bandwidth.section("warning").map { try Self.bandwidth($0, period, "rx", "tx", "total") }
      limit = try bandwidth.section("limit").map { try Self.bandwidth($0, period, "rx", "tx", "total") }
    }
    for section in try section.sections("classes") ?? [] {
      let limitClass = try Self.limitClass(section)
      guard !classes.contains(where: { $0.id == limitClass.id }) else {
        throw section.error("id", "two classes have the id \(limitClass.id)")
      }
      classes.append(limitClass)
    }
    // Upstream's switch. A file that says nothing of it is meant.
    if try section.bool("enforcing") == false { self = ShareLimits() }
  }

  private static func limitClass(_ section: StrictSection) throws -> LimitClass {
    guard let id = try section.int("id", in: 1...Int(Int32.max)) else { throw section.missing("id") }
    var mode: ShareOptions.Backend?
    if let word = try section.string("backend_mode") {
      mode = ShareOptions.Backend(rawValue: word)
      guard mode != nil else { throw section.error("backend_mode", "'\(word)' is no backend mode") }
    }
    let word = try section.string("limit_action") ?? "limit"
    guard let action = LimitClass.Action(rawValue: word) else {
      throw section.error("limit_action", "'\(word)' is neither warning nor limit")
    }
    let period = try section.int("period_minutes", in: 1...ShareUsageRow.retentionMinutes).map { $0 * 60 }
    let bandwidth = try bandwidth(section, period ?? 0, "rx_bytes", "tx_bytes", "total_bytes")
    guard bandwidth.isUnlimited == (period == nil) else {
      throw section.error(
        "period_minutes", "a period and at least one of rx_bytes, tx_bytes and total_bytes go together")
    }
    let counts = try counts(section)
    guard mode == nil || counts == Counts() else {
      throw section.error("backend_mode", "a class for a backend mode limits bytes, not counts")
    }
    guard bandwidth.isUnlimited || counts == Counts() else {
      throw section.error("id", "a class limits either counts or bytes; write two classes")
    }
    guard mode == nil || !bandwidth.isUnlimited else {
      throw section.error("backend_mode", "a class for a backend mode limits bytes; give a period")
    }
    return LimitClass(
      id: id, label: try section.string("label") ?? "", backendMode: mode, counts: counts, bandwidth: bandwidth,
      action: action)
  }

  private static func frontend(_ section: StrictSection) throws -> FrontendLimits {
    var limits = FrontendLimits()
    limits.requestsPerShare = try unlimited(section, "requests_per_share")
    limits.requestsPerAddress = try unlimited(section, "requests_per_address")
    if section.contains("concurrent_per_share") {
      limits.concurrentPerShare = try unlimited(section, "concurrent_per_share")
    }
    if let window = try section.duration("window") {
      guard window >= .seconds(1), window <= .hours(24) else { throw section.error("window", "from 1s to 24h") }
      limits.window = window
    }
    if let limit = try section.duration("response_timeout") {
      guard limit >= .seconds(1) else {
        throw section.error("response_timeout", "at least 1s; leave it out for no limit")
      }
      limits.answerLimit = limit
    }
    return limits
  }

  private static func counts(_ section: StrictSection) throws -> Counts {
    func count(_ key: String) throws -> Int? { try Self.unlimited(section, key) }
    let names = [try count("reserved_shares"), try count("unique_names")].compactMap { $0 }
    return Counts(
      environments: try count("environments"), shares: try count("shares"), reservedNames: names.min(),
      accesses: try count("share_frontends"))
  }

  private static func bandwidth(_ section: StrictSection, _ period: Int, _ rx: String, _ tx: String, _ total: String)
    throws -> Bandwidth
  {
    Bandwidth(
      period: period, rx: try unlimited(section, rx), tx: try unlimited(section, tx),
      total: try unlimited(section, total))
  }

  /// -1 is upstream's word for no limit.
  private static func unlimited(_ section: StrictSection, _ key: String) throws -> Int? {
    try section.int(key, in: -1...Int.max).flatMap { $0 < 0 ? nil : $0 }
  }

  private static func period(_ section: StrictSection, _ key: String) throws -> Int? {
    guard let duration = try section.duration(key) else { return nil }
    let seconds = Int(duration.nanoseconds / 1_000_000_000)
    guard (60...ShareUsageRow.retentionMinutes * 60).contains(seconds) else {
      throw section.error(key, "from 1m to \(ShareUsageRow.retentionMinutes / 60)h")
    }
    return seconds
  }

  // MARK: Of an account

  /// What holds for one account: the classes applied to it before what holds for all.
  struct Effective: Sendable {
    var counts = Counts()
    /// Of everything but the modes that have a class of their own.
    var bandwidth: [LimitClass.Action: Bandwidth] = [:]
    var backends: [ShareOptions.Backend: (bandwidth: Bandwidth, action: LimitClass.Action)] = [:]

    var limitsBytes: Bool { !bandwidth.isEmpty || !backends.isEmpty }
  }

  func effective(_ account: ShareAccount) -> Effective {
    guard !exempt.contains(account.email) else { return Effective() }
    var effective = Effective(counts: counts)
    if let warning, !warning.isUnlimited { effective.bandwidth[.warning] = warning }
    if let limit, !limit.isUnlimited { effective.bandwidth[.limit] = limit }
    for limitClass in applied(account) {
      switch limitClass.slot {
      case .counts: effective.counts = limitClass.counts
      case .bandwidth(let action): effective.bandwidth[action] = limitClass.bandwidth
      case .backend(let mode): effective.backends[mode] = (limitClass.bandwidth, limitClass.action)
      }
    }
    return effective
  }

  /// Classes that the operator took out of the file hold no longer.
  func applied(_ account: ShareAccount) -> [LimitClass] {
    classes.filter { account.limitClasses?.contains($0.id) ?? false }
  }

  /// Whether anybody's bytes are limited.
  public var limitsBytes: Bool { warning != nil || limit != nil || classes.contains { !$0.bandwidth.isUnlimited } }
}
