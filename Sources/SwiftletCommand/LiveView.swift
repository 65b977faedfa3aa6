import Foundation

/// What a person sees while a share or an access runs, as rows of text. The terminal itself is `LiveScreen`'s: this is
/// a value that tests can look at.
struct LiveView {
  /// What runs.
  struct Subject: Sendable, Equatable {
    /// What to give to others: URLs, or the command that uses it.
    var headline: [String]
    /// `PUBLIC` or `PRIVATE`, and the mode.
    var badges: [String]
    /// What is shared, or where it leads.
    var target: String
    /// What the QR code says; nil where no phone could use it.
    var link: String?
    /// What is counted and listed, such as `requests`; nil where nobody tells.
    var traffic: String?
    /// What else to know for whoever uses it.
    var hints: [String] = []
  }

  /// Of a window, in cells.
  struct Size: Equatable {
    var columns: Int
    var rows: Int
  }

  private enum CodeWish {
    /// Shown while there is plenty of room.
    case unspoken
    case wanted
    case unwanted
  }

  private enum CodePlace {
    case beside
    case above
    /// Of everything but the first line.
    case instead
    case nowhere
  }

  private struct Line {
    let clock: String
    let entry: RequestFeed.Entry
  }

  private typealias Styled = (text: String, style: Terminal.Style?)

  private static let keptLog = 256
  /// Modules around the code: half of the standard's, for room. Beyond them the terminal is as good as light or dark;
  /// scanners do with it.
  private static let quietZone = 2

  private let subject: Subject
  private let hasColour: Bool
  private let code: [String]
  private let codeWidth: Int
  private(set) var size: Size
  /// Whether `frame` would differ from the last one.
  private(set) var needsDrawing = true
  private var codeWish: CodeWish
  private var logWish: Bool?
  private var isEnding = false

  /// Newest first.
  private var lines: [Line] = []
  /// Oldest first.
  private var log: [String] = []
  private var scrolled = 0
  private var page = 1
  private var (count, bytesIn, bytesOut) = (0, 0, 0)
  private var rate = Rate()
  private var rateText = ""

  /// - Parameter wantsCode: shows the QR code also where it takes the room of something else.
  init(_ subject: Subject, size: Size, hasColour: Bool, wantsCode: Bool = false) {
    self.subject = subject
    self.size = size
    self.hasColour = hasColour
    codeWish = wantsCode ? .wanted : .unspoken
    code = subject.link.flatMap { QRCode($0) }.map { QRCode.lines($0.modules, quiet: Self.quietZone) } ?? []
    codeWidth = code.first?.count ?? 0
  }

  // MARK: What happens

  mutating func add(_ batch: RequestFeed.Batch, clock: String) {
    count += batch.count
    bytesIn += batch.bytesIn
    bytesOut += batch.bytesOut
    let fresh = batch.entries.reversed().map { entry in
      var entry = entry
      entry.method = CellText.clean(entry.method)
      entry.path = CellText.clean(entry.path)
      entry.remote = CellText.clean(entry.remote)
      return Line(clock: clock, entry: entry)
    }
    lines = Array((fresh + lines).prefix(RequestFeed.capacity))
    // Who looks at older ones goes on looking at them.
    if scrolled > 0 { scrolled += fresh.count }
    needsDrawing = true
  }

  mutating func add(log text: String) {
    log.append(CellText.clean(CellText.withoutStyle(text)))
    if log.count > Self.keptLog { log.removeFirst() }
    needsDrawing = true
  }

  /// - Parameter time: seconds on any clock that goes on.
  mutating func tick(_ time: Double) {
    rate.note(count, at: time)
    let text = rate.text
    if text != rateText {
      rateText = text
      needsDrawing = true
    }
  }

  mutating func resize(_ size: Size) {
    guard size != self.size else { return }
    self.size = size
    needsDrawing = true
  }

  mutating func press(_ key: LiveKey) {
    switch key {
    case .quit: isEnding = true
    case .log: logWish = !showsLog
    case .code: codeWish = codePlace == .nowhere ? .wanted : .unwanted
    case .redraw: break
    case .up: scroll(by: -1)
    case .down: scroll(by: 1)
    case .pageUp: scroll(by: -page)
    case .pageDown: scroll(by: page)
    }
    needsDrawing = true
  }

  private mutating func scroll(by count: Int) { scrolled = min(max(scrolled + count, 0), max(lines.count - page, 0)) }

  /// Everything that the person was told, once the view is gone.
  var summary: String {
    ([subject.headline.first ?? ""] + (subject.traffic == nil ? [] : [totals])).joined(separator: ": ")
  }

  // MARK: How it looks

  /// One text a row of the window. A row is whole: it does not depend on what stood there.
  mutating func frame() -> [String] {
    needsDrawing = false
    let place = codePlace
    let body = max(size.rows - 1, 0)
    let columns = place == .beside ? size.columns - codeWidth - 1 : size.columns
    var rows: [String]
    if place == .instead {
      rows = [CellText.fitted(subject.headline.first ?? "", columns)] + paintedCode
    } else {
      rows = head(columns)
      if place == .above { rows += paintedCode }
      rows += lists(columns, body - rows.count)
    }
    rows = Array(rows.prefix(body)) + Array(repeating: "", count: max(body - rows.count, 0))
    if place == .beside { for (row, line) in paintedCode.enumerated() { rows[row] += Self.column(columns + 2) + line } }
    return rows + [footer]
  }

  private var paintedCode: [String] { code.map { QRCode.painted($0, hasColour: hasColour) } }

  private var codePlace: CodePlace {
    guard !code.isEmpty, codeWish != .unwanted else { return .nowhere }
    let isWanted = codeWish == .wanted
    if size.columns - codeWidth - 1 >= (isWanted ? 40 : 64), size.rows > code.count { return .beside }
    guard size.columns >= codeWidth else { return .nowhere }
    if size.rows >= code.count + 18 { return .above }
    return isWanted && size.rows >= code.count + 2 ? .instead : .nowhere
  }

  private func head(_ columns: Int) -> [String] {
    let headline = subject.headline.flatMap { CellText.wrapped(CellText.clean($0), max(columns - 4, 1)) }
    let shown = headline.prefix(4) + (headline.count > 4 ? ["and more"] : [])
    var facts = [CellText.clean(subject.target)]
    if subject.traffic != nil { facts.append(totals + (rateText.isEmpty ? "" : "   " + rateText)) }
    for hint in subject.hints { facts += CellText.wrapped(CellText.clean(hint), max(columns - 4, 1)) }
    return box("swiftlet", shown.map { (CellText.fitted($0, columns - 4), .bold) }, columns)
      + box(
        subject.badges.map { "[\($0)]" }.joined(separator: " "), facts.map { (CellText.fitted($0, columns - 4), nil) },
        columns)
  }

  private var totals: String {
    "\(count) \(subject.traffic ?? "")   \(Self.bytes(bytesIn)) in   \(Self.bytes(bytesOut)) out"
  }

  private mutating func lists(_ columns: Int, _ rows: Int) -> [String] {
    let logRows = !showsLog ? 0 : subject.traffic != nil && rows >= 9 ? max(4, rows / 3) : max(rows, 0)
    var boxes: [String] = []
    if let traffic = subject.traffic, rows - logRows >= 3 { boxes += list(traffic, columns, rows - logRows) }
    if logRows >= 3 {
      let shown = log.suffix(logRows - 2)
      let blank = Array(repeating: "", count: logRows - 2 - shown.count)
      boxes += box("log", (shown + blank).map { (CellText.fitted($0, columns - 4), nil) }, columns)
    }
    return boxes
  }

  private var showsLog: Bool { logWish ?? !log.isEmpty }

  private mutating func list(_ traffic: String, _ columns: Int, _ rows: Int) -> [String] {
    page = rows - 2
    scroll(by: 0)
    let shown = lines[scrolled...].prefix(page)
    let inner = columns - 4
    let methodWidth = min(shown.map { CellText.width($0.entry.method) }.max() ?? 0, 9)
    let remoteWidth = min(shown.map { CellText.width($0.entry.remote) }.max() ?? 0, inner / 4)
    var content = shown.map { line -> Styled in
      let entry = line.entry
      // Narrow windows show what was asked rather than when and by whom.
      guard inner >= 36 else {
        return (CellText.fitted("\(entry.statusText) \(entry.method) \(entry.path)", inner), entry.statusStyle)
      }
      let clock = inner >= 48 ? line.clock + "  " : ""
      let method = CellText.fitted(entry.method, methodWidth)
      let duration = String(repeating: " ", count: max(11 - entry.milliseconds.count, 2)) + entry.milliseconds
      let remote = inner >= 60 && remoteWidth > 0 ? "  " + CellText.fitted(entry.remote, remoteWidth) : ""
      // Where something failed, why matters more than the rest of a long path.
      let what = entry.failure.map { "\(entry.path.prefix(24))  \($0)" } ?? entry.path
      let path = CellText.fitted(
        what, inner - clock.count - 3 - 2 - methodWidth - 2 - duration.count - CellText.width(remote))
      return (
        "\(paint(clock, .dim))\(paint(entry.statusText, entry.statusStyle))  \(method)  \(path)\(duration)\(remote)",
        nil
      )
    }
    if content.isEmpty { content = [(CellText.fitted("none yet", inner), .dim)] }
    while content.count < page { content.append((CellText.fitted("", inner), nil)) }
    return box(scrolled > 0 ? "\(traffic), \(scrolled) newer above" : traffic, content, columns)
  }

  /// - Parameter content: rows that fill the inside exactly.
  private func box(_ title: String, _ content: [Styled], _ columns: Int) -> [String] {
    guard columns >= 8 else { return content.map(\.text) }
    let shown = title.isEmpty ? "" : " \(CellText.fitted(title, min(CellText.width(title), columns - 6))) "
    let top = "╭─" + shown + String(repeating: "─", count: columns - 3 - CellText.width(shown)) + "╮"
    let middle = content.map { row in
      // The border has its own column, however wide the terminal thinks the text is.
      paint("│", .dim) + " " + (row.style.map { paint(row.text, $0) } ?? row.text) + Self.column(columns)
        + paint("│", .dim)
    }
    return [paint(top, .dim)] + middle + [paint("╰" + String(repeating: "─", count: columns - 2) + "╯", .dim)]
  }

  private var footer: String {
    if isEnding { return paint(CellText.fitted(" ending", size.columns), .dim) }
    var keys = ["q end"]
    if !code.isEmpty {
      keys.append(
        codeWish == .wanted && codePlace == .nowhere ? "the window is too small for the QR code" : "c QR code")
    }
    keys.append("l log")
    if subject.traffic != nil { keys.append("↑↓ scroll") }
    return paint(CellText.fitted(" " + keys.joined(separator: "   "), size.columns), .dim)
  }

  private func paint(_ text: String, _ style: Terminal.Style) -> String {
    hasColour ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
  }

  private static func column(_ number: Int) -> String { "\u{1B}[\(number)G" }

  static func bytes(_ count: Int) -> String {
    guard count >= 1000 else { return "\(count) B" }
    var value = Double(count)
    for unit in ["kB", "MB", "GB"] {
      value /= 1000
      if value < 999.95 { return String(format: "%.1f %@", value, unit) }
    }
    return String(format: "%.1f TB", value / 1000)
  }
}

/// How often something happened in the last seconds.
private struct Rate {
  private static let window = 5.0
  private static let spacing = 0.5
  private var samples: [(time: Double, count: Int)] = []

  mutating func note(_ count: Int, at time: Double) {
    guard let last = samples.last else { return samples.append((time, count)) }
    guard time - last.time >= Self.spacing else { return }
    samples.append((time, count))
    samples.removeAll { time - $0.time > Self.window }
  }

  /// Empty while nothing happens.
  var text: String {
    guard let first = samples.first, let last = samples.last, last.time > first.time, last.count > first.count else {
      return ""
    }
    return String(format: "%.1f/s", Double(last.count - first.count) / (last.time - first.time))
  }
}
