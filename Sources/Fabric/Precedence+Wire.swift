public import Model
public import Wire
public import WireSchemas

// What a precedence means (`Precedence`), its number in edge messages (`PrecedenceCode`) and its value in control
// messages: the one place where they are told to be the same.

extension EdgeCtrlTerminatorPrecedence {
  public init(_ precedence: Precedence) {
    switch precedence {
    case .default: self = .default
    case .required: self = .required
    case .failed: self = .failed
    }
  }

  public init(_ code: PrecedenceCode) {
    switch code {
    case .default: self = .default
    case .required: self = .required
    case .failed: self = .failed
    }
  }
}

extension Precedence {
  /// A value that this build does not know counts as default.
  public init(_ value: EdgeCtrlTerminatorPrecedence) {
    switch value {
    case .required: self = .required
    case .failed: self = .failed
    case .default, .UNRECOGNIZED: self = .default
    }
  }
}
