import ArgumentParser
import Foundation
import JSON
import Logging
import Transport

/// How a long-running command writes its log.
enum LogFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
  /// Lines for people on a terminal, JSON elsewhere.
  case auto
  case text
  case json
}

/// The log options of every long-running command.
struct LogOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Log more; twice for everything.")
  var verbose: Int

  @Option(help: "How log lines look: auto, text or json.")
  var logFormat: LogFormat = .auto

  /// Makes the process log to stderr and returns the command's own logger. Called once, before any other module logs.
  /// - Parameter quiet: the level without `-v`; a command that talks to a person raises it.
  func logger(_ label: String, quiet: Logger.Level = .info) -> Logger {
    let level: Logger.Level =
      switch verbose {
      case 0: quiet
      case 1: .debug
      default: .trace
      }
    let json = logFormat == .json || (logFormat == .auto && !Terminal.error.isInteractive)
    LoggingSystem.bootstrap { label in LogOutput(label: label, logLevel: level, json: json) }
    return Logger(label: label)
  }
}

/// One line an event on stderr: `19:04:11.203 info  router  circuit opened  circuit=4xQ…`, or the same as JSON.
struct LogOutput: LogHandler {
  let label: String
  var logLevel: Logger.Level
  let json: Bool
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  init(label: String, logLevel: Logger.Level, json: Bool) {
    self.label = label
    self.logLevel = logLevel
    self.json = json
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var fields = metadata
    if let provided = metadataProvider?.get() { fields.merge(provided) { $1 } }
    if let own = event.metadata { fields.merge(own) { $1 } }
    let line =
      json ? jsonLine(event.level, "\(event.message)", fields) : textLine(event.level, "\(event.message)", fields)
    Terminal.error.line(line)
  }

  private func textLine(_ level: Logger.Level, _ message: String, _ fields: Logger.Metadata) -> String {
    let terminal = Terminal.error
    let style: Terminal.Style =
      switch level {
      case .trace, .debug: .dim
      case .info, .notice: .green
      case .warning: .yellow
      case .error, .critical: .red
      }
    let word = level.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
    var text =
      "\(terminal.styled(Self.clock(), .dim)) \(terminal.styled(word, style)) \(terminal.styled(label, .cyan)) \(Self.harmless(message))"
    for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
      text += " " + terminal.styled("\(key)=", .dim) + Self.harmless(ErrorText.plain("\(value)"))
    }
    return text
  }

  private func jsonLine(_ level: Logger.Level, _ message: String, _ fields: Logger.Metadata) -> String {
    var document: JSONObject = [:]
    for (key, value) in fields { document[key] = .string(ErrorText.plain("\(value)")) }
    document["time"] = .string(Date().ISO8601Format(.iso8601WithTimeZone(includingFractionalSeconds: true)))
    document["level"] = .string(level.rawValue)
    document["logger"] = .string(label)
    document["message"] = .string(message)
    return JSONValue.object(document).text
  }

  private static func clock() -> String {
    let now = Date()
    let calendar = Calendar.current.dateComponents([.hour, .minute, .second, .nanosecond], from: now)
    return String(
      format: "%02d:%02d:%02d.%03d", calendar.hour ?? 0, calendar.minute ?? 0, calendar.second ?? 0,
      (calendar.nanosecond ?? 0) / 1_000_000)
  }

  /// Names come from peers: control characters must not move the cursor or forge a line.
  private static func harmless(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) else {
      return text
    }
    return String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) ? "\u{FFFD}" : $0 }))
  }
}
