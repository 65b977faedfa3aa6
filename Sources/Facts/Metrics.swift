// Facts: what a process counts and measures, and how it is told to the outside. It decides nothing and knows no entity.
// Start reading at `Metrics`.

import Synchronization

/// A number that only grows. Counting takes one relaxed atomic addition.
public final class Counter: Sendable {
  private let count = Atomic<Int>(0)

  public init() {}

  public func add(_ amount: Int = 1) { count.add(amount, ordering: .relaxed) }
  public var value: Int { count.load(ordering: .relaxed) }
}

/// The metrics of a process under the names of the reference (management-and-model.md 6.4), and their Prometheus text
/// (6.5).
public final class Metrics: Sendable {
  /// One value of a metric that is read when somebody asks.
  public struct Sample: Sendable {
    public var labels: [(name: String, value: String)]
    public var value: Double

    public init(_ value: Double, labels: [(name: String, value: String)] = []) {
      self.value = value
      self.labels = labels
    }
  }

  public enum Source: Sendable {
    case counter(Counter)
    case gauge(@Sendable () -> [Sample])
  }

  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  private let sources: [(name: String, help: String, source: Source)]

  /// - Parameter sources: names with dots, as the reference's dashboards have them.
  public init(_ sources: [(name: String, help: String, source: Source)]) {
    self.sources = sources.sorted { $0.name < $1.name }
  }

  /// The exposition of all metrics.
  /// - Parameter sourceID: names this process in the label `source_id`.
  public func text(sourceID: String) -> String {
    var text = ""
    for (name, help, source) in sources {
      let name = Self.exposed(name)
      let (kind, samples): (String, [Sample]) =
        switch source {
        case .counter(let counter): ("counter", [Sample(Double(counter.value))])
        case .gauge(let read): ("gauge", read())
        }
      if samples.isEmpty { continue }
      text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
      for sample in samples {
        let labels = ([("source_id", sourceID)] + sample.labels).map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(
          separator: ",")
        text += "\(name){\(labels)} \(Self.number(sample.value))\n"
      }
    }
    return text
  }

  /// `service.dial.success` is `ziti_service_dial_success`; a trailing `_count` is `_c`, because Prometheus reserves
  /// it.
  static func exposed(_ name: String) -> String {
    var text = "ziti_"
    for character in name where character != ":" { text.append(" .-=/".contains(character) ? "_" : character) }
    if text.hasSuffix("_count") { text.removeLast(4) }
    return text
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "\\": result += "\\\\"
      case "\"": result += "\\\""
      case "\n": result += "\\n"
      default: result.append(character)
      }
    }
    return result
  }

  private static func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
  }
}
