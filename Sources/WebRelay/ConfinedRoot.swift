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

  /// An open file or directory. Whoever uses its descriptor keeps the entry alive meanwhile: it closes with it.
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
  func openPlain(_ segments: [String]) throws(Failure) -> Entry {
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

// MARK: Changing what is below the root. No symlink is followed, replaced or removed through here.

extension ConfinedRoot {
  /// The directory that a path's last segment is in. - Throws: `notFound` when it is no directory, `badPath` for the root itself.
  func parent(_ segments: [String]) throws(Failure) -> (directory: Entry, name: String) {
    guard let name = segments.last else { throw .badPath }
    let directory = try openPlain(segments.dropLast())
    guard directory.isDirectory else { throw .notFound }
    return (directory, name)
  }

  private static func failure(_ code: Int32) -> Failure {
    switch code {
    case ENOENT, ENOTDIR: .notFound
    case EACCES, EPERM, ELOOP, EROFS: .forbidden
    default: .failed(code)
    }
  }

  struct Kind { let isDirectory: Bool }

  /// What is there under a name: nil for nothing. - Throws: `forbidden` for a symlink or a special file.
  func kind(_ directory: Entry, _ name: String) throws(Failure) -> Kind? {
    var status = stat()
    guard fstatat(directory.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
      if errno == ENOENT { return nil }
      throw Self.failure(errno)
    }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: return Kind(isDirectory: true)
    case S_IFREG: return Kind(isDirectory: false)
    default: throw .forbidden
    }
  }

  func makeDirectory(_ segments: [String]) throws(Failure) {
    let (directory, name) = try parent(segments)
    defer { withExtendedLifetime(directory) {} }
    guard mkdirat(directory.descriptor, name, 0o755) == 0 else { throw Self.failure(errno) }
  }

  /// Removes a file, or a directory with everything in it.
  func remove(_ segments: [String]) throws(Failure) {
    let (directory, name) = try parent(segments)
    guard let kind = try kind(directory, name) else { throw .notFound }
    defer { withExtendedLifetime(directory) {} }
    try Self.remove(directory.descriptor, name, isDirectory: kind.isDirectory, depth: 0)
  }

  private static func remove(_ directory: Int32, _ name: String, isDirectory: Bool, depth: Int) throws(Failure) {
    guard isDirectory else {
      guard unlinkat(directory, name, 0) == 0 else { throw failure(errno) }
      return
    }
    guard depth < 128 else { throw .failed(ELOOP) }
    let inner = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC)
    guard inner >= 0 else { throw failure(errno) }
    var status = stat()
    guard fstat(inner, &status) == 0 else {
      close(inner)
      throw failure(errno)
    }
    let entry = Entry(descriptor: inner, status)
    defer { withExtendedLifetime(entry) {} }
    while case let listed = names(entry), !listed.isEmpty {
      for (name, isDirectory) in listed { try remove(inner, name, isDirectory: isDirectory, depth: depth + 1) }
    }
    guard unlinkat(directory, name, AT_REMOVEDIR) == 0 else { throw failure(errno) }
  }

  /// Everything in a directory, symlinks and special files as files: for removing them.
  private static func names(_ directory: Entry) -> [(String, Bool)] {
    guard let stream = fdopendir(dup(directory.descriptor)) else { return [] }
    defer { closedir(stream) }
    rewinddir(stream)
    var found: [(String, Bool)] = []
    while found.count < listingLimit, let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard name != ".", name != ".." else { continue }
      var status = stat()
      guard fstatat(directory.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      found.append((name, status.st_mode & S_IFMT == S_IFDIR))
    }
    return found
  }

  /// Moves a file or directory, in one step where nothing is in its way.
  func move(_ source: [String], to target: [String]) throws(Failure) {
    let (from, name) = try parent(source)
    let (to, newName) = try parent(target)
    defer { withExtendedLifetime((from, to)) {} }
    guard try kind(from, name) != nil else { throw .notFound }
    if let there = try kind(to, newName), there.isDirectory { try Self.remove(to.descriptor, newName, isDirectory: true, depth: 0) }
    guard renameat(from.descriptor, name, to.descriptor, newName) == 0 else { throw Self.failure(errno) }
  }

  /// Copies a file, or a directory with everything in it but symlinks.
  func copy(_ source: [String], to target: [String], deep: Bool, depth: Int = 0) throws(Failure) {
    guard depth < 128 else { throw .failed(ELOOP) }
    let entry = try openPlain(source)
    defer { withExtendedLifetime(entry) {} }
    guard entry.isDirectory else {
      let upload = try beginFile(target)
      let size = 1 << 20
      let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
      defer { piece.deallocate() }
      while true {
        let count = read(entry.descriptor, piece.baseAddress, size)
        guard count >= 0 else { throw Self.failure(errno) }
        guard count > 0 else { break }
        try upload.write(UnsafeRawBufferPointer(rebasing: piece[..<count]))
      }
      return try upload.commit(modified: nil)
    }
    try makeDirectory(target)
    guard deep else { return }
    for child in Self.list(entry) {
      do { try copy(source + [child.name], to: target + [child.name], deep: true, depth: depth + 1) } catch .forbidden {}
    }
  }

  /// A file that is being written beside its place and takes it when it is whole: whoever reads meanwhile, or after a broken upload, reads the old one.
  final class Upload: @unchecked Sendable {
    // Unchecked: used by one task of the thread pool after the other.
    private let directory: Entry
    private let name: String
    private let temporary: String
    private var descriptor: Int32

    fileprivate init(_ directory: Entry, _ name: String) throws(Failure) {
      self.directory = directory
      self.name = name
      temporary = ".swiftlet-upload-\(UInt64.random(in: .min ... .max))"
      descriptor = openat(directory.descriptor, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw ConfinedRoot.failure(errno) }
    }

    deinit { abandon() }

    func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
      var rest = bytes
      while !rest.isEmpty {
        let count = Self.put(descriptor, rest)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw ConfinedRoot.failure(errno) }
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      }
    }

    private static func put(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
      #if canImport(Darwin)
        Darwin.write(descriptor, bytes.baseAddress, bytes.count)
      #elseif canImport(Musl)
        Musl.write(descriptor, bytes.baseAddress, bytes.count)
      #else
        Glibc.write(descriptor, bytes.baseAddress, bytes.count)
      #endif
    }

    /// On disk before it is acknowledged. - Parameter modified: seconds since 1970, where the client says so.
    func commit(modified: Int64?) throws(Failure) {
      guard fsync(descriptor) == 0 else { throw ConfinedRoot.failure(errno) }
      if let modified { ConfinedRoot.setTime(descriptor, modified) }
      guard renameat(directory.descriptor, temporary, directory.descriptor, name) == 0 else { throw ConfinedRoot.failure(errno) }
      close(descriptor)
      descriptor = -1
      fsync(directory.descriptor)
    }

    func abandon() {
      guard descriptor >= 0 else { return }
      close(descriptor)
      descriptor = -1
      unlinkat(directory.descriptor, temporary, 0)
    }
  }

  /// - Throws: `forbidden` where a symlink or a directory is in the place.
  func beginFile(_ segments: [String]) throws(Failure) -> Upload {
    let (directory, name) = try parent(segments)
    if let there = try kind(directory, name), there.isDirectory { throw .forbidden }
    return try Upload(directory, name)
  }

  /// - Parameter seconds: since 1970.
  func setTime(_ segments: [String], _ seconds: Int64) throws(Failure) {
    let entry = try openPlain(segments)
    withExtendedLifetime(entry) { Self.setTime(entry.descriptor, seconds) }
  }

  fileprivate static func setTime(_ descriptor: Int32, _ seconds: Int64) {
    let time = timespec(tv_sec: Int(seconds), tv_nsec: 0)
    _ = withUnsafeBytes(of: (time, time)) { bytes in
      bytes.baseAddress.map { futimens(descriptor, $0.assumingMemoryBound(to: timespec.self)) }
    }
  }
}

/// `open` of the C library, which `ConfinedRoot.open` hides.
private func openFile(_ path: String, _ flags: Int32) -> Int32 { open(path, flags) }
