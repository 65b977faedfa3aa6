import Foundation
import Model
import REST

/// The filters of the list calls (zrok.md 2.3).
struct ShareListFilter {
  private let request: APIRequest

  init(_ request: APIRequest) throws {
    self.request = request
    guard request.query("hasActivity") != "true" || request.query("idle") != "true" else {
      throw ShareRefusal(400, "hasActivity and idle exclude each other")
    }
    for name in ["createdAfter", "createdBefore", "updatedAfter", "updatedBefore"] {
      guard let text = request.query(name), !text.isEmpty else { continue }
      guard Timestamp(text) != nil else { throw ShareRefusal(400, "\(name) must be a time as in RFC 3339, is '\(text.prefix(64))'") }
    }
    for name in ["shareCount", "accessCount"] {
      guard let text = request.query(name), !text.isEmpty else { continue }
      guard Self.comparison(text) != nil else { throw ShareRefusal(400, "\(name) must be a number, with >, >=, =, < or <= before it") }
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

  /// Without counted traffic everything is idle.
  var activity: Bool { flag("hasActivity", false) && flag("idle", true) }

  func times(_ entity: some Entity) -> Bool {
    func bound(_ name: String) -> Timestamp? { request.query(name).flatMap { Timestamp($0) } }
    return bound("createdAfter").map { entity.createdAt >= $0 } ?? true && bound("createdBefore").map { entity.createdAt <= $0 } ?? true
      && bound("updatedAfter").map { entity.updatedAt >= $0 } ?? true && bound("updatedBefore").map { entity.updatedAt <= $0 } ?? true
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
    guard ["", ">", ">=", "=", "<", "<="].contains(String(sign)), let number = Int(text.dropFirst(sign.count)) else { return nil }
    return (String(sign), number)
  }
}
