import Foundation
import Transport

/// Files with keys and certificates: mode 0600 in directories 0700, replaced as a whole.
enum IdentityFile {
  private static let sizeLimit = 1024 * 1024

  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  static func read(_ path: String) throws(RouterError) -> String {
    do {
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      guard data.count <= sizeLimit else { throw CocoaError(.fileReadTooLarge) }
      return String(decoding: FileText.withoutMark(data), as: UTF8.self)
    } catch {
      throw .unreadable(file: path, reason: error.localizedDescription)
    }
  }

  /// Writes beside the target and renames, so that a reader sees the old file or the new one.
  static func write(_ text: String, to path: String) throws(RouterError) {
    let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
    do {
      if !exists(directory) {
        try FileManager.default.createDirectory(
          atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      }
    } catch {
      throw .unwritable(file: path, reason: error.localizedDescription)
    }
    let temporary = path + ".new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .unwritable(file: path, reason: String(cString: strerror(errno))) }
    do {
      let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
      try handle.write(contentsOf: Data(text.utf8))
      try handle.synchronize()
      try handle.close()
    } catch {
      unlink(temporary)
      throw .unwritable(file: path, reason: error.localizedDescription)
    }
    guard rename(temporary, path) == 0 else {
      let reason = String(cString: strerror(errno))
      unlink(temporary)
      throw .unwritable(file: path, reason: reason)
    }
  }
}
