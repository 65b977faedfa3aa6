import PKI

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The one way in which files with keys, tokens or passwords come to the disk: mode 0600 in directories of mode 0700,
/// replaced as a whole.
///
/// The bytes go into a new file beside the target, whose name nobody can foresee and which no link can stand for; they
/// are on the disk before the file takes the target's name, and the name is on the disk before the call returns. So a
/// reader sees the old file or the new one, and so does whoever starts after a power failure. A link at the target is
/// replaced itself; what it leads to stays as it is. After a failure nothing is left over.
package enum PrivateFile {
  /// What cannot be done with a file, why, and what helps.
  package struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file or directory.
    package let path: String
    /// What was tried, as it reads before the path: "cannot write".
    package let what: String
    package let reason: String
    /// What to do about it, where one can tell.
    package let next: String?
    /// The file has more bytes than the caller reads.
    package let isTooLarge: Bool

    fileprivate init(_ what: String, _ path: String, _ code: Int32, next: String? = nil) {
      self.init(what, path, reason: String(cString: strerror(code)), next: next ?? Self.advice(code, path))
    }

    fileprivate init(_ what: String, _ path: String, reason: String, next: String? = nil, isTooLarge: Bool = false) {
      self.path = path
      self.what = what
      self.reason = reason
      self.next = next
      self.isTooLarge = isTooLarge
    }

    /// Why, and what helps: for errors that name the file themselves.
    package var because: String { next.map { "\(reason); \($0)" } ?? reason }

    package var description: String { "\(what) \(path): \(because)" }

    private static func advice(_ code: Int32, _ path: String) -> String? {
      let directory = PrivateFile.directory(of: path)
      return switch code {
      case EACCES, EPERM: "let the user of this process read and write in \(directory), or name another place"
      case EROFS: "name a place that is not mounted read-only"
      case ENOSPC, EDQUOT: "make room on the disk of \(directory)"
      case ENOENT: "see that \(directory) exists and that the name is right"
      case ENOTDIR: "a part of the path is a file; move it away, or name another place"
      case EISDIR, ENOTEMPTY: "a directory has that name; move it away, or name another file"
      default: nil
      }
    }
  }

  /// The largest file that is read unless the caller says otherwise, in bytes.
  package static let usualLimit = 4 << 20
  /// Names that are tried before one gives up; 64 random bits are not met twice by chance.
  private static let attempts = 4

  package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  // MARK: Writing

  /// Writes a file, replacing one that exists in one step; its directory is made where it is missing. On the disk when
  /// it returns.
  ///
  /// - Throws: `Failure`; the file that was there is as before, unless only its directory could not be brought to the
  ///   disk.
  package static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
    try makeDirectory(directory(of: path))
    close(try replace(path, with: bytes))
  }

  /// The same with text, as UTF-8.
  package static func write(_ text: String, to path: String) throws(Failure) { try write(Array(text.utf8), to: path) }

  /// `write` for what is made anew after a restart: whole and private, but handed to the kernel only.
  ///
  /// - Parameter path: in a directory that exists.
  /// - Throws: `Failure`.
  package static func writeTransient(_ bytes: [UInt8], to path: String) throws(Failure) {
    var random = RandomSource()
    close(try replace(path, with: bytes, isDurable: false, using: &random))
  }

  /// `write` for files that grow afterwards.
  ///
  /// - Parameter path: in a directory that exists.
  /// - Returns: the descriptor of the new file, for further bytes behind these. It is the caller's to close.
  /// - Throws: `Failure`.
  package static func replace(_ path: String, with bytes: [UInt8]) throws(Failure) -> Int32 {
    var random = RandomSource()
    return try replace(path, with: bytes, isDurable: true, using: &random)
  }

  static func replace(
    _ path: String, with bytes: [UInt8], isDurable: Bool, using random: inout some RandomNumberGenerator
  ) throws(Failure) -> Int32 {
    var temporary = ""
    var file: Int32 = -1
    for _ in 0..<attempts {
      let number: UInt64 = random.next()
      temporary = "\(path).\(String(number, radix: 16)).new"
      file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      guard file < 0, errno == EEXIST else { break }
    }
    guard file >= 0 else {
      let code = errno
      throw Failure("cannot write", path, code, next: code == EEXIST ? "remove \(temporary)" : nil)
    }
    guard append(bytes, to: file), !isDurable || fsync(file) == 0, rename(temporary, path) == 0 else {
      let code = errno
      unlink(temporary)
      close(file)
      throw Failure("cannot write", path, code)
    }
    if isDurable, let code = synchronize(directory: directory(of: path)) {
      close(file)
      throw Failure("cannot bring to the disk", path, code)
    }
    return file
  }

  /// Gives a file that was written whole (`write`) another name, replacing what has it.
  ///
  /// - Parameter path: in the same directory.
  /// - Throws: `Failure`.
  package static func move(_ source: String, to path: String) throws(Failure) {
    guard rename(source, path) == 0 else { throw Failure("cannot write", path, errno) }
    if let code = synchronize(directory: directory(of: path)) { throw Failure("cannot bring to the disk", path, code) }
  }

  /// Makes a directory and its parents where they are missing, each with mode 0700; one that exists keeps its mode.
  /// - Throws: `Failure`.
  package static func makeDirectory(_ path: String) throws(Failure) {
    guard !isDirectory(path) else { return }
    let parent = directory(of: path)
    if parent != path { try makeDirectory(parent) }
    guard mkdir(path, 0o700) == 0 else {
      let code = errno
      // Somebody else made it in the meantime, or it is a file.
      if code == EEXIST, isDirectory(path) { return }
      throw Failure("cannot make the directory", path, code == EEXIST ? ENOTDIR : code)
    }
    if let code = synchronize(directory: parent) { throw Failure("cannot make the directory", path, code) }
  }

  /// Makes a directory of mode 0700 that nobody else can have made before.
  ///
  /// - Parameter start: of its path, such as `/tmp/caddy-`; seven characters are added.
  /// - Returns: its path.
  /// - Throws: `Failure`.
  package static func makeTemporaryDirectory(_ start: String) throws(Failure) -> String {
    var path = ""
    for _ in 0..<attempts {
      path = start + RandomSource.text(7, of: "abcdefghijklmnopqrstuvwxyz0123456789")
      if mkdir(path, 0o700) == 0 { return path }
      guard errno == EEXIST else { break }
    }
    throw Failure("cannot make the directory", path, errno)
  }

  /// The directory in which a path's last part lies; "." for a name alone.
  package static func directory(of path: String) -> String {
    let slash = UInt8(ascii: "/")
    var rest = Array(path.utf8)[...]
    while rest.count > 1, rest.last == slash { rest.removeLast() }
    guard let end = rest.lastIndex(of: slash) else { return "." }
    rest = rest[..<end]
    while rest.last == slash { rest.removeLast() }
    return rest.isEmpty ? "/" : String(decoding: rest, as: UTF8.self)
  }

  private static func isDirectory(_ path: String) -> Bool { access(path.isEmpty ? "." : path + "/.", F_OK) == 0 }

  /// - Returns: the number of the error, nil when the names in the directory are on the disk.
  private static func synchronize(directory: String) -> Int32? {
    let file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    // Where one may make files but not list them the kernel writes the names in its own time.
    guard file >= 0 else { return errno == EACCES ? nil : errno }
    defer { close(file) }
    // File systems that cannot be asked for it have nothing to write.
    return fsync(file) == 0 || errno == EINVAL ? nil : errno
  }

  // MARK: Reading

  /// Reads a file, links followed: where a file lies is its owner's choice.
  ///
  /// - Parameter limit: of its bytes.
  /// - Returns: its bytes without the byte order mark that some editors put first.
  /// - Throws: `Failure`.
  package static func read(_ path: String, limit: Int = usualLimit) throws(Failure) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw Failure("cannot read", path, errno) }
    defer { close(file) }
    guard let bytes = contents(of: file, atMost: limit) else { throw Failure("cannot read", path, errno) }
    guard bytes.count <= limit else {
      throw Failure("cannot read", path, reason: "it has more than the \(limit) bytes that are read", isTooLarge: true)
    }
    return Array(FileText.withoutMark(bytes))
  }

  /// The same as text; what is no UTF-8 becomes replacement characters.
  package static func text(_ path: String, limit: Int = usualLimit) throws(Failure) -> String {
    String(decoding: try read(path, limit: limit), as: UTF8.self)
  }
}

// Outside of the type, whose own names hide those of the system.

/// - Returns: false with `errno` when not all bytes were taken.
private func append(_ bytes: [UInt8], to file: Int32) -> Bool {
  bytes.withUnsafeBytes { bytes in
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = write(file, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }
}

/// - Returns: the bytes to the end, or some more than the limit; nil with `errno` when they cannot be read.
private func contents(of file: Int32, atMost limit: Int) -> [UInt8]? {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 64 * 1024)
  while bytes.count <= limit {
    let count = chunk.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { return nil }
    if count == 0 { break }
    bytes += chunk[..<count]
  }
  return bytes
}
