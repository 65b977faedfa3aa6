import Wire

/// Which hosts of a service are dialled first: those with `required` as long as one of them is there, then those with
/// `default`, and those with `failed` only when nobody else is left.
public enum HostingPrecedence: String, Sendable {
  case `default`, required, failed

  var wire: PrecedenceCode {
    switch self {
    case .default: .default
    case .required: .required
    case .failed: .failed
    }
  }
}
