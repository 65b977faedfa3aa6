import Wire

/// What a router or a host said of its refusal beside the text, in a form that programs can act on (edge-data-plane.md
/// 3.4 to 3.6).
public struct OverlayRefusal: Sendable, Equatable {
  /// What the refusing side advises.
  public enum RetryHint: Sendable, Equatable {
    /// It advises nothing.
    case unspecified
    /// Something has reached its limit; the same request may succeed later.
    case tooBusy
    /// Session or service are not what the SDK knew; it has asked for them anew, and was refused again.
    case startOver
    /// The same request will be refused again.
    case notRetriable
  }

  let error: StructuredError

  init(_ error: StructuredError) { self.error = error }

  /// The words of the refusing side.
  public var message: String { error.message }

  /// The stable code of OpenZiti's catalogue: 5 for a router that the session may not use, 14 for access denied, 15 for
  /// a failed posture check.
  public var code: UInt32 { error.code.rawValue }

  /// What the refusing side advises.
  public var retryHint: RetryHint {
    switch error.retryHint {
    case .default: .unspecified
    case .tooBusy: .tooBusy
    case .startOver: .startOver
    case .notRetriable: .notRetriable
    }
  }

  /// Ids of the posture checks that failed, where those are the reason.
  public var failingPostureCheckIDs: [String] { error.failingPostureCheckIDs }
}

extension EdgeMessages.StateClosed {
  /// What it says beside its text.
  var refusal: OverlayRefusal? { error.map(OverlayRefusal.init) }
}
