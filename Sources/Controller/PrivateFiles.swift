import Foundation
import Model
import Transport

/// Files that hold keys or tokens: mode 0600 in directories 0700, replaced atomically.
enum PrivateFiles {
  static func makeDirectory(_ path: String) throws {
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  static func write(_ text: String, to path: String) throws { try replace(path, with: Array(text.utf8)).close() }

  /// - Returns: the new file, open for further bytes behind these.
  static func replace(_ path: String, with bytes: [UInt8]) throws -> FileHandle {
    let temporary = path + ".new"
    try? FileManager.default.removeItem(atPath: temporary)
    guard FileManager.default.createFile(atPath: temporary, contents: nil, attributes: [.posixPermissions: 0o600]),
      let file = FileHandle(forWritingAtPath: temporary)
    else { throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path]) }
    // The handle follows the file under its new name.
    try file.write(contentsOf: bytes)
    guard rename(temporary, path) == 0 else {
      throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path])
    }
    return file
  }

  static func read(_ path: String) throws -> String {
    String(decoding: FileText.withoutMark(try Data(contentsOf: URL(fileURLWithPath: path))), as: UTF8.self)
  }
  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}
