import Foundation

/// One of the two streams a command writes to. Colour and movement appear only where a person looks at them: on a
/// terminal, without NO_COLOR.
struct Terminal: Sendable {
  static let output = Terminal(descriptor: STDOUT_FILENO)
  static let error = Terminal(descriptor: STDERR_FILENO)

  let descriptor: Int32
  let isInteractive: Bool
  let hasColour: Bool

  private init(descriptor: Int32) {
    self.descriptor = descriptor
    let environment = ProcessInfo.processInfo.environment
    isInteractive = isatty(descriptor) != 0
    hasColour = isInteractive && (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
  }

  enum Style: String {
    case bold = "1"
    case dim = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"
    case cyan = "36"
  }

  func styled(_ text: String, _ style: Style) -> String {
    hasColour ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
  }

  func line(_ text: String = "") { write(text + "\n") }

  /// Writes all of it, also when the terminal takes it in pieces. A closed pipe ends the output silently, as `head`
  /// expects.
  func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        guard errno == EINTR || errno == EAGAIN else { return }
        continue
      }
      bytes = bytes.dropFirst(count)
    }
  }

  /// Asks a yes/no question; anything but y or yes is no. Without a terminal to ask on the answer is no.
  static func confirms(_ question: String) -> Bool {
    guard isatty(STDIN_FILENO) != 0 else { return false }
    error.write("\(question) [y/N] ")
    guard let answer = readLine() else { return false }
    return ["y", "yes"].contains(answer.trimmingCharacters(in: .whitespaces).lowercased())
  }

  /// Reads a secret without echo, or one line of standard input when that is not a terminal.
  static func secret(_ prompt: String) -> String? {
    guard isatty(STDIN_FILENO) != 0 else { return readLine() }
    error.write("\(prompt): ")
    var before = termios()
    guard tcgetattr(STDIN_FILENO, &before) == 0 else { return nil }
    var silent = before
    silent.c_lflag &= ~tcflag_t(ECHO)
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
    defer {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
      error.line()
    }
    return readLine()
  }
}
