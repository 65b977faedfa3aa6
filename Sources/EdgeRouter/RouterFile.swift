import Transport

/// The files of a router's identity: `PrivateFile`, with the errors of a router.
enum RouterFile {
  private static let sizeLimit = 1 << 20

  static func read(_ path: String) throws(RouterError) -> String {
    do throws(PrivateFile.Failure) {
      return try PrivateFile.text(path, limit: sizeLimit)
    } catch {
      throw .unreadable(file: path, reason: error.reason)
    }
  }

  static func write(_ text: String, to path: String) throws(RouterError) {
    do throws(PrivateFile.Failure) {
      try PrivateFile.write(text, to: path)
    } catch {
      throw .unwritable(file: path, reason: error.because)
    }
  }
}
