import Foundation
import Synchronization

/// A terminal that a live view has for itself: the alternate screen, the keys, and what the process writes to stderr
/// meanwhile.
///
/// One thread does it all, so that neither an event loop nor a task ever waits for a terminal.
final class LiveScreen: Sendable {
  /// Redraws and looks at the window's size at most so often, in milliseconds.
  private static let interval = 100

  /// Whether somebody sits before it: both directions lead to a terminal that can move its cursor, and this process may
  /// use it.
  static var isPossible: Bool {
    guard let term = ProcessInfo.processInfo.environment["TERM"], !term.isEmpty, term != "dumb" else { return false }
    return Terminal.output.isInteractive && isatty(STDIN_FILENO) != 0 && tcgetpgrp(STDIN_FILENO) == getpgrp()
  }

  private let feed: RequestFeed
  private let isStopping = Atomic(false)
  private let running = DispatchGroup()

  init(feed: RequestFeed) { self.feed = feed }

  /// Takes the terminal. Whoever calls this calls `stop` before the process ends.
  /// - Parameter quit: called on the screen's thread when the person wants it to end, or has closed the window.
  func start(_ subject: LiveView.Subject, wantsCode: Bool, quit: @escaping @Sendable () -> Void) {
    running.enter()
    let thread = Thread { [self] in
      let view = LiveView(subject, size: ScreenMode.size(), hasColour: Terminal.output.hasColour, wantsCode: wantsCode)
      run(view, quit)
      running.leave()
    }
    thread.name = "screen"
    thread.start()
  }

  /// Gives the terminal back as soon as it takes anything.
  func leave() { isStopping.store(true, ordering: .relaxed) }

  /// Gives the terminal back. Returns once it is as it was; at once where it was never taken.
  func stop() async {
    leave()
    await withCheckedContinuation { continuation in running.notify(queue: .global()) { continuation.resume() } }
  }

  private func run(_ view: LiveView, _ quit: @Sendable () -> Void) {
    var view = view
    let mode = ScreenMode.enter()
    var errors = ErrorCapture()
    var keys = LiveKeyReader()
    var shown: [String] = []
    var drawn = ContinuousClock.now - .seconds(1)
    let started = ContinuousClock.now
    var input = STDIN_FILENO
    while !isStopping.load(ordering: .relaxed) {
      wait(for: input, or: errors?.reader)
      if input >= 0 {
        switch Self.read(input) {
        case nil: break
        case let bytes? where bytes.isEmpty:
          // The window is gone.
          input = -1
          quit()
        case let bytes?:
          for key in keys.keys(in: bytes) {
            view.press(key)
            if key == .redraw { shown = [] }
            if key == .quit { quit() }
          }
        }
      }
      for line in errors?.take() ?? [] { view.add(log: line) }
      if let batch = feed.take() { view.add(batch, clock: Self.clock()) }
      let now = ContinuousClock.now
      view.tick((now - started) / .seconds(1))
      let size = ScreenMode.size()
      if size != view.size {
        view.resize(size)
        shown = []
      }
      if view.needsDrawing, now - drawn >= .milliseconds(Self.interval) {
        drawn = now
        draw(view.frame(), over: &shown)
      }
    }
    if let batch = feed.take() { view.add(batch, clock: Self.clock()) }
    mode.leave()
    Terminal.output.line(view.summary)
    errors?.end()
  }

  /// Until a key or a log line comes, or it is time to look at everything else.
  private func wait(for input: Int32, or errors: Int32?) {
    // poll passes over negative descriptors.
    var sources = [
      pollfd(fd: input, events: Int16(POLLIN), revents: 0), pollfd(fd: errors ?? -1, events: Int16(POLLIN), revents: 0),
    ]
    _ = poll(&sources, 2, Int32(Self.interval))
  }

  /// - Returns: nil when there is nothing to read, nothing at all at the end.
  private static func read(_ descriptor: Int32) -> [UInt8]? {
    var source = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&source, 1, 0) > 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = Foundation.read(descriptor, &bytes, bytes.count)
    if count < 0, errno == EINTR || errno == EAGAIN { return nil }
    return Array(bytes.prefix(max(count, 0)))
  }

  /// Writes the rows that changed, in one piece; terminals that know synchronized output show it in one piece too.
  private func draw(_ rows: [String], over shown: inout [String]) {
    var text = "\u{1B}[?2026h"
    if shown.count != rows.count {
      text += "\u{1B}[2J"
      shown = []
    }
    for (index, row) in rows.enumerated() where shown.isEmpty || shown[index] != row {
      text += "\u{1B}[\(index + 1);1H\u{1B}[2K" + row
    }
    Terminal.output.write(text + "\u{1B}[?2026l")
    shown = rows
  }

  private static func clock() -> String {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    return String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
  }
}

/// The terminal's settings before the view, and back.
private struct ScreenMode {
  private let before: termios?

  /// No echo, no lines, no signals from keys: Ctrl-C ends the share, and nothing suspends or kills it by accident.
  static func enter() -> ScreenMode {
    var before = termios()
    guard tcgetattr(STDIN_FILENO, &before) == 0 else { return ScreenMode(before: nil) }
    var raw = before
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
    raw.c_iflag &= ~tcflag_t(IXON)
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw)
    // Alternate screen, no cursor, no wrapping at the margin, pasted text marked.
    Terminal.output.write("\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l\u{1B}[?2004h")
    return ScreenMode(before: before)
  }

  func leave() {
    guard var before else { return }
    Terminal.output.write("\u{1B}[0m\u{1B}[?2004l\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l")
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
  }

  static func size() -> LiveView.Size {
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return .init(columns: 80, rows: 24)
    }
    return .init(columns: Int(size.ws_col), rows: Int(size.ws_row))
  }
}

/// Takes what the process writes to stderr while that leads to the terminal the view is on; afterwards it is written
/// there.
private struct ErrorCapture {
  /// Bytes of a line, and lines kept for afterwards.
  private static let (lineLimit, kept) = (4096, 256)

  let reader: Int32
  private let saved: Int32
  private var open: [UInt8] = []
  private var lines: [String] = []

  /// nil where stderr leads elsewhere, or cannot be taken.
  init?() {
    guard Terminal.error.isInteractive else { return nil }
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    reader = ends[0]
    saved = dup(STDERR_FILENO)
    for descriptor in [reader, saved] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(reader, F_SETFL, O_NONBLOCK)
    let isTaken = saved >= 0 && dup2(ends[1], STDERR_FILENO) >= 0
    close(ends[1])
    guard isTaken else {
      close(reader)
      if saved >= 0 { close(saved) }
      return nil
    }
  }

  /// Lines that are complete by now.
  mutating func take() -> [String] {
    var fresh: [String] = []
    var bytes = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
      let count = read(reader, &bytes, bytes.count)
      guard count > 0 else { break }
      for byte in bytes.prefix(count) {
        if byte == UInt8(ascii: "\n") || open.count == Self.lineLimit {
          fresh.append(String(decoding: open, as: UTF8.self))
          open = []
        }
        if byte != UInt8(ascii: "\n") { open.append(byte) }
      }
      // A program that logs without end must not keep the keys waiting.
      if fresh.count >= Self.kept { break }
    }
    lines = (lines + fresh).suffix(Self.kept)
    return fresh
  }

  /// Gives stderr back, and writes there what it missed.
  mutating func end() {
    dup2(saved, STDERR_FILENO)
    close(saved)
    _ = take()
    close(reader)
    if !open.isEmpty { lines.append(String(decoding: open, as: UTF8.self)) }
    for line in lines { Terminal.error.line(line) }
  }
}
