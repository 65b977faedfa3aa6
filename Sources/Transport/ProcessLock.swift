import Foundation

/// One process at a time for a directory or a file: what two keep they would take from each other. Held until
/// `release`, and at most as long as the process lives, whatever ends it. The file stays and names the process that
/// held it last.
public final class ProcessLock: Sendable {
  public enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
    /// - Parameters:
    ///   - what: whoever holds it, as it was given: "another controller".
    ///   - process: its id, if it said so.
    case held(what: String, path: String, process: Int32?)
    case unavailable(path: String, reason: String)

    public var description: String {
      switch self {
      case .held(let what, let path, let process):
        "\(what) runs here already\(process.map { ", as process \($0)" } ?? ""): it holds \(path). Stop it, or give this one a directory of its own"
      case .unavailable(let path, let reason): "\(path) cannot be opened: \(reason)"
      }
    }
  }

  private let descriptor: Int32

  /// Takes the lock; makes the file with mode 0600.
  /// - Parameters:
  ///   - path: of the lock file.
  ///   - what: whoever holds it, as the second is told: "another controller".
  /// - Throws: `Failure`.
  public init(_ path: String, what: String) throws(Failure) {
    descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw .unavailable(path: path, reason: String(cString: strerror(errno))) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      var text = [UInt8](repeating: 0, count: 16)
      let count = read(descriptor, &text, text.count)
      close(descriptor)
      throw .held(
        what: what, path: path,
        process: Int32(String(decoding: text.prefix(max(0, count)), as: UTF8.self).prefix { $0 != "\n" }))
    }
    let text = Array("\(ProcessInfo.processInfo.processIdentifier)\n".utf8)
    // Only for people: a lock without a name is one all the same.
    if ftruncate(descriptor, 0) == 0 { _ = write(descriptor, text, text.count) }
  }

  /// Lets go; a second call does nothing.
  public func release() { flock(descriptor, LOCK_UN) }

  deinit { close(descriptor) }
}
