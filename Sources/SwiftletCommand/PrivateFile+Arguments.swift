import Transport

extension PrivateFile {
  /// A file that an argument names.
  ///
  /// - Parameters:
  ///   - what: what it holds, as it reads after "cannot read": "the token".
  ///   - limit: of its bytes.
  /// - Throws: `CommandFailure`.
  static func read(_ path: String, what: String, limit: Int = usualLimit) throws -> [UInt8] {
    do throws(Failure) { return try read(path, limit: limit) } catch {
      throw CommandFailure("cannot read \(what) \(path)", reason: error.reason, next: error.next)
    }
  }
}

extension CommandFailure {
  init(_ failure: PrivateFile.Failure) {
    self.init("\(failure.what) \(failure.path)", reason: failure.reason, next: failure.next)
  }
}
