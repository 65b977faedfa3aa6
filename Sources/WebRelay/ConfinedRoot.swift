import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A directory that nothing opened through it can leave: not by `..`, not by an encoding, not by a symlink, not even by one that is put in place meanwhile.
final class ConfinedRoot: Sendable {
  enum Failure: Error, Equatable {
    /// The request's path is none.
    case badPath
    case notFound
    /// It leads out of the directory, or is neither file nor directory.
    case forbidden
    case failed(Int32)
  }

  /// An open file or directory.
  final class Entry: Sendable {
    let descriptor: Int32
    let isDirectory: Bool
    let size: Int64
    /// Seconds since 1970.
    let modified: Int64

    fileprivate init(descriptor: Int32, _ status: stat) {
      self.descriptor = descriptor
      isDirectory = status.st_mode & S_IFMT == S_IFDIR
      size = Int64(status.st_size)
      #if canImport(Darwin)
        modified = Int64(status.st_mtimespec.tv_sec)
      #else
        modified = Int64(status.st_mtim.tv_sec)
      #endif
    }

    deinit { close(descriptor) }
  }

  /// One line of a listing.
  struct Listed: Sendable {
    let name: String
    let isDirectory: Bool
    let size: Int64
    let modified: Int64
  }

  /// Entries of a directory that are listed at most.
  static let listingLimit = 10_000

  private let root: Int32
  private let path: String

  /// - Throws: `Failure.notFound` when there is no such directory.
  init(_ path: String) throws(Failure) {
    guard let resolved = Self.resolved(path) else { throw .notFound }
    let descriptor = openFile(resolved, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .notFound }
    root = descriptor
    self.path = resolved
  }

  deinit { close(root) }

  /// The segments of a request's path: decoded once, each a plain name.
  static func segments(_ path: some StringProtocol) throws(Failure) -> [String] {
    guard path.utf8.count <= 4096, path.hasPrefix("/") else { throw .badPath }
    var segments: [String] = []
    for part in path.split(separator: "/") {
      guard let name = decoded(part), name != "..", !name.isEmpty, name.utf8.count <= 255 else { throw .badPath }
      guard !name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }) else { throw .badPath }
      if name != "." { segments.append(name) }
    }
    return segments
  }

  /// Percent-decoding of one segment; nil when it is malformed or not UTF-8.
  private static func decoded(_ text: some StringProtocol) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  /// Opens what the segments lead to, for reading. Symlinks are followed where their target is below the root.
  func open(_ segments: [String]) throws(Failure) -> Entry {
    do { return try openPlain(segments) } catch .forbidden {
      // Something on the way is a symlink: go to where it leads, by a path without any. If one appears there meanwhile, the second walk refuses it.
      guard let target = Self.resolved(([path] + segments).joined(separator: "/")), target == path || target.hasPrefix(path + "/") else {
        throw .forbidden
      }
      return try openPlain(target.dropFirst(path.utf8.count).split(separator: "/").map(String.init))
    }
  }

  /// Without following any symlink.
  private func openPlain(_ segments: [String]) throws(Failure) -> Entry {
    var current = dup(root)
    guard current >= 0 else { throw .failed(errno) }
    for (index, name) in segments.enumerated() {
      let isLast = index == segments.count - 1
      // A pipe is opened without waiting for its other end, and refused below.
      let next = openat(current, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (isLast ? 0 : O_DIRECTORY))
      let code = errno
      if next < 0 {
        defer { close(current) }
        switch code {
        case ELOOP: throw .forbidden
        case ENOTDIR:
          // With O_DIRECTORY a symlink reports this instead.
          var status = stat()
          if fstatat(current, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFLNK { throw .forbidden }
          throw .notFound
        case ENOENT, ENAMETOOLONG: throw .notFound
        case EACCES, EPERM, ENXIO: throw .forbidden
        default: throw .failed(code)
        }
      }
      close(current)
      current = next
    }
    var status = stat()
    guard fstat(current, &status) == 0 else {
      let code = errno
      close(current)
      throw .failed(code)
    }
    let kind = status.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFDIR else {
      close(current)
      throw .forbidden
    }
    return Entry(descriptor: current, status)
  }

  /// The files and directories in a directory, directories first.
  static func list(_ directory: Entry) -> [Listed] {
    // The stream owns the descriptor it is given.
    guard let stream = fdopendir(dup(directory.descriptor)) else { return [] }
    defer { closedir(stream) }
    rewinddir(stream)
    var listed: [Listed] = []
    while listed.count < listingLimit, let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      guard let name, name != ".", name != ".." else { continue }
      var status = stat()
      guard fstatat(directory.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      let kind = status.st_mode & S_IFMT
      guard kind == S_IFREG || kind == S_IFDIR || kind == S_IFLNK else { continue }
      #if canImport(Darwin)
        let modified = Int64(status.st_mtimespec.tv_sec)
      #else
        let modified = Int64(status.st_mtim.tv_sec)
      #endif
      listed.append(Listed(name: name, isDirectory: kind == S_IFDIR, size: Int64(status.st_size), modified: modified))
    }
    return listed.sorted { ($0.isDirectory ? 0 : 1, $0.name.lowercased(), $0.name) < ($1.isDirectory ? 0 : 1, $1.name.lowercased(), $1.name) }
  }

  private static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(validatingCString: resolved)
  }
}

/// `open` of the C library, which `ConfinedRoot.open` hides.
private func openFile(_ path: String, _ flags: Int32) -> Int32 { open(path, flags) }
