import Foundation
import Transport

/// Files that hold keys or tokens: mode 0600 in directories 0700, replaced as a whole.
enum PrivateFile {
  /// Writes beside the target and renames, so that a reader sees the old file or the new one and a full disk loses
  /// neither.
  static func write(_ bytes: [UInt8], to path: String) throws {
    let url = URL(fileURLWithPath: path)
    try makeDirectory(url.deletingLastPathComponent().path)
    let temporary = url.deletingLastPathComponent().appendingPathComponent(
      ".\(url.lastPathComponent).\(ProcessInfo.processInfo.processIdentifier)"
    )
    .path
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw CommandFailure("cannot write \(path)", reason: String(cString: strerror(errno)))
    }
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    do {
      try handle.write(contentsOf: Data(bytes))
      try handle.synchronize()
      try handle.close()
    } catch {
      unlink(temporary)
      throw CommandFailure("cannot write \(path)", error)
    }
    guard rename(temporary, path) == 0 else {
      let reason = String(cString: strerror(errno))
      unlink(temporary)
      throw CommandFailure("cannot write \(path)", reason: reason)
    }
  }

  /// Makes the directory and its parents; one that exists keeps its mode.
  static func makeDirectory(_ path: String) throws {
    guard !FileManager.default.fileExists(atPath: path) else { return }
    do {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw CommandFailure("cannot make the directory \(path)", error)
    }
  }

  static func read(_ path: String, what: String, limit: Int = 4 << 20) throws -> [UInt8] {
    let data: Data
    do {
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
      guard size <= limit else { throw CommandFailure("\(path) has \(size) bytes, at most \(limit) are read") }
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw CommandFailure("cannot read \(what) \(path)", error)
    }
    return Array(FileText.withoutMark(data))
  }
}
