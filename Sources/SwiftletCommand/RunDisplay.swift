import ArgumentParser
import Foundation
import SwiftletShare
import WebRelay

/// How a running share or access shows itself.
struct DisplayOptions: ParsableArguments {
  @Flag(help: "Plain lines also on a terminal; so do ZROK2_HEADLESS=true and the setting headless.")
  var headless = false

  /// - Parameter wantsCode: the QR code was asked for, whether there is room or not.
  func display(_ home: ShareHomeOptions, wantsCode: Bool = false) throws -> RunDisplay {
    let variables = ProcessInfo.processInfo.environment
    let isHeadless =
      try headless || ["ZROK2_HEADLESS", "ZROK_HEADLESS"].contains { variables[$0] == "true" }
      || home.environment().setting(.headless) == "true"
    return RunDisplay(isLive: !isHeadless && LiveScreen.isPossible, wantsCode: wantsCode)
  }
}

/// Shows a share or an access while it runs: a live view where a person looks at it, else plain lines.
struct RunDisplay: Sendable {
  private let feed = RequestFeed()
  private let screen: LiveScreen?
  private let wantsCode: Bool

  fileprivate init(isLive: Bool, wantsCode: Bool) {
    screen = isLive ? LiveScreen(feed: feed) : nil
    self.wantsCode = wantsCode
  }

  /// Tells of each request.
  var observer: RequestObserver {
    guard screen != nil else { return { record in RequestLine.show(.init(record)) } }
    return { [feed] record in feed.add(.init(record)) }
  }

  /// - Parameter notice: what plain lines say to the person once it runs.
  func show(_ subject: LiveView.Subject, notice: String) {
    if let screen {
      // As Ctrl-C does without a view: the service group ends what runs.
      return screen.start(subject, wantsCode: wantsCode) { kill(getpid(), SIGINT) }
    }
    let out = Terminal.output
    for line in subject.headline { out.line(out.styled(line, .bold)) }
    if wantsCode, let code = subject.link.flatMap({ QRCode($0) }) {
      for line in QRCode.lines(code.modules) { out.line(QRCode.painted(line, hasColour: out.hasColour)) }
    }
    Terminal.error.line(notice)
    for hint in subject.hints { Terminal.error.line(CellText.clean(hint)) }
  }

  /// Gives the terminal back as soon as it takes anything.
  func leave() { screen?.leave() }

  /// Returns when the terminal is given back.
  func end() async { await screen?.stop() }
}

/// One line for each request that is over.
enum RequestLine {
  static func show(_ entry: RequestFeed.Entry) {
    let out = Terminal.output
    let reason = entry.failure.map { "  " + CellText.clean($0) } ?? ""
    out.line(
      "\(out.styled(entry.statusText, entry.statusStyle))  \(CellText.clean(entry.method))  \(CellText.clean(entry.path))  \(entry.milliseconds)  "
        + CellText.clean(entry.remote) + reason)
  }
}
