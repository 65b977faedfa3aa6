import ArgumentParser
import Foundation
import Transport

/// Why a command did not do what it was asked: what failed on which object, the reason, and what to do next.
struct CommandFailure: Error, CustomStringConvertible {
  var what: String
  var reason: String?
  var next: String?
  /// Of the answer that says so, where it was one.
  var status: Int?

  init(_ what: String, reason: String? = nil, next: String? = nil) {
    self.what = what
    self.reason = reason
    self.next = next
  }

  /// An error of another module, with the object it happened to.
  init(_ what: String, _ error: any Error, next: String? = nil) {
    if let inner = error as? CommandFailure {
      self.init(what, reason: inner.reason.map { "\(inner.what): \($0)" } ?? inner.what, next: inner.next ?? next)
    } else {
      self.init(what, reason: Self.text(error), next: next)
    }
  }

  static func text(_ error: any Error) -> String {
    if let cocoa = error as? CocoaError {
      switch cocoa.code {
      case .fileReadNoSuchFile, .fileNoSuchFile: return "there is no such file"
      case .fileReadNoPermission, .fileWriteNoPermission: return "no permission"
      case .fileWriteOutOfSpace: return "the disk is full"
      case .fileReadInapplicableStringEncoding: return "it is not text"
      default: return cocoa.localizedDescription
      }
    }
    // Whoever runs a command said himself what was asked, and where.
    if let error = error as? RESTError, case .unreachable(let reason) = error.problem { return reason }
    return ErrorText.words(error)
  }

  var description: String {
    var text = what
    if let reason { text += ": \(reason)" }
    if let next { text += "\n\(next)" }
    return text
  }

  /// What failed and why. A reason may be the words of a peer: nothing of it moves the cursor.
  var words: String {
    (reason.map { "\(what): \($0)" } ?? what).split(separator: "\n", omittingEmptySubsequences: false).map {
      CellText.clean(String($0))
    }
    .joined(separator: "\n")
  }

  func report() {
    Terminal.error.line(Terminal.error.styled("error:", .red) + " " + words)
    if let next { Terminal.error.line(Terminal.error.styled("  " + next.replacing("\n", with: "\n  "), .dim)) }
  }
}
