import Foundation
import Model
import NIOCore
import REST
import Transport

/// The filters of the list calls (zrok.md 2.3).
struct ShareListFilter {
  private let request: APIRequest
  /// How far back something counts as active, in seconds.
  private let activityDuration: Int

  init(_ request: APIRequest) throws {
    self.request = request
    activityDuration = try Self.duration(request, "activityDuration", or: .hours(24))
    guard activityDuration <= 30 * 86_400 else { throw ShareRefusal(400, "activityDuration is at most 30d") }
    guard request.query("hasActivity") != "true" || request.query("idle") != "true" else {
      throw ShareRefusal(400, "hasActivity and idle exclude each other")
    }
    for name in ["createdAfter", "createdBefore", "updatedAfter", "updatedBefore"] {
      guard let text = request.query(name), !text.isEmpty else { continue }
      guard Timestamp(text) != nil else {
        throw ShareRefusal(400, "\(name) must be a time as in RFC 3339, is '\(text.prefix(64))'")
      }
    }
    for name in ["shareCount", "accessCount"] {
      guard let text = request.query(name), !text.isEmpty else { continue }
      guard Self.comparison(text) != nil else {
        throw ShareRefusal(400, "\(name) must be a number, with >, >=, =, < or <= before it")
      }
    }
  }

  /// Case-insensitive substring.
  func contains(_ name: String, _ value: String) -> Bool {
    guard let wanted = request.query(name), !wanted.isEmpty else { return true }
    return value.lowercased().contains(wanted.lowercased())
  }

  func equals(_ name: String, _ value: String) -> Bool {
    guard let wanted = request.query(name), !wanted.isEmpty else { return true }
    return value == wanted
  }

  func flag(_ name: String, _ value: Bool) -> Bool {
    switch request.query(name) {
    case "true"?: value
    case "false"?: !value
    default: true
    }
  }

  /// - Parameter field: the member of usage rows that names what is asked about, and its value.
  func activity(_ field: String, _ value: String, _ views: ShareViews) throws -> Bool {
    guard request.query("hasActivity") != nil || request.query("idle") != nil else { return true }
    let isUsed = try views.hasUsage(field, value, seconds: activityDuration)
    return flag("hasActivity", isUsed) && flag("idle", !isUsed)
  }

  /// A duration as Go writes it, or in days, in seconds.
  static func duration(_ request: APIRequest, _ name: String, or absent: TimeAmount) throws -> Int {
    guard let text = request.query(name), !text.isEmpty else { return Int(absent.nanoseconds / 1_000_000_000) }
    guard let amount = GoDuration.parse(text, withDays: true) else {
      throw ShareRefusal(400, "'\(text.prefix(32))' is no duration such as 720h")
    }
    return Int(amount.nanoseconds / 1_000_000_000)
  }

  func times(_ entity: some Entity) -> Bool {
    func bound(_ name: String) -> Timestamp? { request.query(name).flatMap { Timestamp($0) } }
    return bound("createdAfter").map { entity.createdAt >= $0 } ?? true
      && bound("createdBefore").map { entity.createdAt <= $0 } ?? true
      && bound("updatedAfter").map { entity.updatedAt >= $0 } ?? true
      && bound("updatedBefore").map { entity.updatedAt <= $0 } ?? true
  }

  func count(_ name: String, _ value: Int) -> Bool {
    guard let text = request.query(name), let (sign, number) = Self.comparison(text) else { return true }
    return switch sign {
    case ">": value > number
    case ">=": value >= number
    case "<": value < number
    case "<=": value <= number
    default: value == number
    }
  }

  private static func comparison(_ text: String) -> (String, Int)? {
    let sign = text.prefix { "<>=".contains($0) }
    guard ["", ">", ">=", "=", "<", "<="].contains(String(sign)), let number = Int(text.dropFirst(sign.count)) else {
      return nil
    }
    return (String(sign), number)
  }
}
