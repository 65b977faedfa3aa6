import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A directory that nothing opened through it can leave: not by `..`, not by an encoding, not by a symlink, not even by
/// one that is put in place meanwhile.
///
/// It is what its path led to when it was made; a site makes one for each request, so that a directory which is built
/// anew, or a symlink to the newest release, is followed.
final class ConfinedRoot: Sendable {
  enum Failure: Error, Equatable {
    /// The request's path is none.
    case badPath
    case notFound
    /// It leads out of the directory, or is neither file nor directory.
    case forbidden
    case failed(Int32)

    init(_ code: Int32) {
      self =
        switch code {
        case ENOENT, ENOTDIR, ENAMETOOLONG: .notFound
        case EACCES, EPERM, ELOOP, EROFS, ENXIO: .forbidden
        default: .failed(code)
        }
    }
  }

  /// What is known of a file or directory without opening it.
  struct Status: Sendable {
    let isDirectory: Bool
    /// Bytes.
    let size: Int64
    /// Seconds since 1970.
    let modified: Int64
    /// Permission bits.
    let mode: mode_t
    /// The entity tag of a file: another one after each change of its content, also within a second and by a file of
    /// the same length and time that takes its place; the same one after a change of its properties or its name.
    let tag: EntityTag

    /// nil for what is neither file nor directory.
    init?(_ status: stat) {
      let kind = status.st_mode & S_IFMT
      guard kind == S_IFREG || kind == S_IFDIR else { return nil }
      isDirectory = kind == S_IFDIR
      size = Int64(status.st_size)
      mode = status.st_mode & 0o777
      #if canImport(Darwin)
        let written = status.st_mtimespec
      #else
        let written = status.st_mtim
      #endif
      modified = Int64(written.tv_sec)
      func digits(_ number: some BinaryInteger) -> String { String(number, radix: 36) }
      tag = EntityTag(
        opaque:
          "\(digits(status.st_ino))-\(digits(status.st_size))-\(digits(written.tv_sec))-\(digits(written.tv_nsec))")
    }
  }

  /// An open file or directory. Whoever uses its descriptor keeps the entry alive meanwhile: it closes with it.
  final class Entry: Sendable {
    let descriptor: Int32
    let status: Status

    var isDirectory: Bool { status.isDirectory }

    /// Takes the descriptor over. - Throws: `forbidden` for what is neither file nor directory.
    fileprivate init(_ descriptor: Int32) throws(Failure) {
      var found = stat()
      let code = fstat(descriptor, &found) == 0 ? 0 : errno
      guard code == 0, let status = Status(found) else {
        close(descriptor)
        throw code == 0 ? .forbidden : .failed(code)
      }
      self.descriptor = descriptor
      self.status = status
    }

    deinit { close(descriptor) }

    /// Bytes from an offset on, fewer only at the end of the file. - Throws: `failed`.
    func read(at offset: Int64, count: Int) throws(Failure) -> [UInt8] {
      var code: Int32 = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        while filled < count {
          let step = pread(
            descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(offset + Int64(filled)))
          if step < 0, errno == EINTR { continue }
          if step < 0 { code = errno }
          guard step > 0 else { break }
          filled += step
        }
      }
      guard code == 0 else { throw .failed(code) }
      return bytes
    }
  }

  /// One line of a listing.
  struct Listed: Sendable {
    let name: FileName
    let isDirectory: Bool
    let size: Int64
    let modified: Int64
  }

  /// Entries of a directory that a page lists at most.
  static let listingLimit = 10_000

  private let root: Int32
  /// Where it is, without symlinks and NUL.
  private let path: [UInt8]

  /// - Throws: `Failure.notFound` when there is no such directory.
  init(_ path: String) throws(Failure) {
    guard let resolved = Self.resolved(Array(path.utf8)) else { throw .notFound }
    let descriptor = openFile(resolved.map { CChar(bitPattern: $0) } + [0], O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .notFound }
    root = descriptor
    self.path = resolved
  }

  deinit { close(root) }

  /// A single file, wherever its path leads now. - Throws: `forbidden` for what is no file.
  static func file(_ path: String) throws(Failure) -> Entry {
    let descriptor = openFile(path.utf8.map { CChar(bitPattern: $0) } + [0], O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Failure(errno) }
    let entry = try Entry(descriptor)
    guard !entry.isDirectory else { throw .forbidden }
    return entry
  }

  /// Opens what a path leads to, for reading. Symlinks are followed where their target is below the root.
  func open(_ path: FilePath) throws(Failure) -> Entry {
    do { return try openPlain(path) } catch .forbidden {
      // Something on the way is a symlink: go to where it leads, by a path without any. If one appears there meanwhile,
      // the second walk refuses it.
      let slash = UInt8(ascii: "/")
      var whole = self.path
      for name in path { whole += [slash] + name.bytes }
      // The root directory of the system is a path of one slash, which all others begin with.
      let base = self.path == [slash] ? [] : self.path
      guard let target = Self.resolved(whole), target.starts(with: base),
        target.count <= base.count || target[base.count] == slash
      else {
        throw .forbidden
      }
      return try openPlain(
        target.dropFirst(base.count).split(separator: slash).compactMap { FileName(bytes: Array($0)) })
    }
  }

  /// Without following any symlink.
  func openPlain(_ path: FilePath) throws(Failure) -> Entry {
    let start = dup(root)
    guard start >= 0 else { throw .failed(errno) }
    var entry = try Entry(start)
    for (index, name) in path.enumerated() {
      if index > 0, !entry.isDirectory { throw .notFound }
      entry = try Self.open(entry, name)
    }
    return entry
  }

  /// What a directory has under a name. - Throws: `forbidden` for a symlink or a special file.
  static func open(_ directory: Entry, _ name: FileName) throws(Failure) -> Entry {
    // A pipe is opened without waiting for its other end, and refused then.
    let descriptor = withExtendedLifetime(directory) {
      openat(directory.descriptor, name.cString, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    }
    guard descriptor >= 0 else { throw Failure(errno) }
    return try Entry(descriptor)
  }

  /// What a directory has under a name: nil for nothing. - Throws: `forbidden` for a symlink or a special file.
  static func status(_ directory: Entry, _ name: FileName) throws(Failure) -> Status? {
    var found = stat()
    let code = withExtendedLifetime(directory) {
      fstatat(directory.descriptor, name.cString, &found, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno
    }
    guard code != ENOENT else { return nil }
    guard code == 0 else { throw Failure(code) }
    guard let status = Status(found) else { throw .forbidden }
    return status
  }

  /// What there is at a path: nil for nothing, also where the directory above is missing.
  func status(_ path: FilePath) throws(Failure) -> Status? {
    guard let name = path.last else { return try openPlain([]).status }
    do {
      let directory = try openPlain(path.dropLast())
      return directory.isDirectory ? try Self.status(directory, name) : nil
    } catch .notFound { return nil }
  }

  /// The files, directories and symlinks in a directory, directories first.
  static func list(_ directory: Entry) -> [Listed] {
    guard let names = DirectoryNames(directory) else { return [] }
    var listed: [Listed] = []
    while listed.count < listingLimit, let name = names.next() {
      var found = stat()
      guard !name.isTemporary, fstatat(directory.descriptor, name.cString, &found, AT_SYMLINK_NOFOLLOW) == 0 else {
        continue
      }
      if let status = Status(found) {
        listed.append(Listed(name: name, isDirectory: status.isDirectory, size: status.size, modified: status.modified))
      } else if found.st_mode & S_IFMT == S_IFLNK {
        #if canImport(Darwin)
          let modified = Int64(found.st_mtimespec.tv_sec)
        #else
          let modified = Int64(found.st_mtim.tv_sec)
        #endif
        listed.append(Listed(name: name, isDirectory: false, size: Int64(found.st_size), modified: modified))
      }
    }
    return listed.map { (key: $0.name.lowercased, value: $0) }
      .sorted {
        ($0.value.isDirectory ? 0 : 1, $0.key, $0.value.name.shown) < (
          $1.value.isDirectory ? 0 : 1, $1.key, $1.value.name.shown
        )
      }
      .map(\.value)
  }

  private static func resolved(_ path: [UInt8]) -> [UInt8]? {
    guard !path.contains(0), let resolved = realpath(path.map { CChar(bitPattern: $0) } + [0], nil) else { return nil }
    defer { free(resolved) }
    return UnsafeBufferPointer(start: resolved, count: strlen(resolved)).map { UInt8(bitPattern: $0) }
  }
}

/// The names in a directory, one after the other, in the order of the file system.
final class DirectoryNames {
  #if canImport(Darwin)
    private let stream: UnsafeMutablePointer<DIR>
  #else
    private let stream: OpaquePointer
  #endif

  init?(_ directory: ConfinedRoot.Entry) {
    // The stream owns the descriptor it is given.
    let descriptor = withExtendedLifetime(directory) { dup(directory.descriptor) }
    guard descriptor >= 0 else { return nil }
    guard let stream = fdopendir(descriptor) else {
      close(descriptor)
      return nil
    }
    self.stream = stream
    rewinddir(stream)
  }

  deinit { closedir(stream) }

  /// nil at the end. `.` and `..` are left out.
  func next() -> FileName? {
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { FileName(cString: $0) }
      }
      if let name { return name }
    }
    return nil
  }
}

/// `open` of the C library, which `ConfinedRoot.open` hides.
private func openFile(_ path: [CChar], _ flags: Int32) -> Int32 { open(path, flags) }
