import Swiftlet

/// What somebody reads who visits a share that could not be dialled: it tells apart what a visitor can do something
/// about. The public frontend and the ports of private shares make their pages of it.
package struct DialFailureNotice: Sendable, Equatable {
  /// Of HTTP.
  package let status: Int
  package let title: String
  package let message: String
  /// What to do next.
  package let hint: String

  /// - Returns: nil for an error that is none of the overlay's: the share was reached, and the server behind it failed.
  package init?(_ error: any Error) {
    switch error {
    case OverlayError.serviceNotFound, OverlayError.notPermitted:
      status = 404
      title = "This share has ended"
      message = "The share was deleted a moment ago."
      hint = "Ask the person who shares it to share it again."
    case OverlayError.dialRefused(_, let reason, _) where reason.contains("does not answer"):
      status = 502
      title = "The server behind this share is down"
      message = "The share is up, but the program it leads to does not answer."
      hint = "Ask the person who shares it to start that program. This page can be reloaded at any time."
    case OverlayError.dialRefused, OverlayError.noRouters, OverlayError.routersUnreachable:
      status = 502
      title = "This share is asleep"
      message = "The share exists, but nobody serves it at the moment."
      hint =
        "Ask the person who shares it to start it again: swiftlet share public ... This page can be reloaded at any time."
    case is OverlayError:
      status = 502
      title = "The connection broke"
      message = "The share did not answer this request."
      hint = "Reload the page in a moment."
    default: return nil
    }
  }
}
