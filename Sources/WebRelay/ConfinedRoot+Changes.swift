import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// Changing what is below a root. No symlink is followed, replaced or removed through here. Whatever takes long
// (writing, copying, removing a tree) happens under a name that nobody else uses; taking a place and leaving it are one
// step each, so that whoever decides about them under a lock holds it for a moment only.

extension ConfinedRoot {
  /// A name in a directory, whether there is something or not.
  struct Place: Sendable {
    let directory: Entry
    let name: FileName

    /// nil for nothing. - Throws: `forbidden` for a symlink or a special file.
    func status() throws(Failure) -> Status? { try ConfinedRoot.status(directory, name) }
  }

  /// - Throws: `notFound` when the directory above is none, `badPath` for the root itself, `forbidden` for names of
  ///   this program's own.
  func place(_ path: FilePath) throws(Failure) -> Place {
    guard let name = path.last else { throw .badPath }
    guard !name.isTemporary else { throw .forbidden }
    let directory = try openPlain(path.dropLast())
    guard directory.isDirectory else { throw .notFound }
    return Place(directory: directory, name: name)
  }

  static func makeDirectory(_ place: Place) throws(Failure) {
    guard mkdirat(place.directory.descriptor, place.name.cString, 0o755) == 0 else { throw Failure(errno) }
  }

  /// An empty file where nothing is.
  static func makeFile(_ place: Place) throws(Failure) {
    let descriptor = openat(
      place.directory.descriptor, place.name.cString, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Failure(errno) }
    close(descriptor)
  }

  /// What was taken out of its place and waits to be removed.
  struct Leftover: Sendable {
    fileprivate let place: Place
    fileprivate let origin: FileName

    /// Removes it with everything in it. - Throws: and what is left is where it was before.
    func discard() throws(Failure) {
      do { try ConfinedRoot.removeTree(place.directory, place.name, depth: 0) } catch {
        // Something new may be in its place by now: that stays.
        var found = stat()
        if fstatat(place.directory.descriptor, origin.cString, &found, AT_SYMLINK_NOFOLLOW) != 0, errno == ENOENT {
          restore()
        }
        throw error
      }
    }

    /// Puts it back.
    fileprivate func restore() {
      renameat(place.directory.descriptor, place.name.cString, place.directory.descriptor, origin.cString)
    }
  }

  /// Takes something out of its place. - Throws: `notFound` when there is nothing.
  /// - Returns: what is to be discarded; nil when it is gone already.
  static func remove(_ place: Place) throws(Failure) -> Leftover? {
    guard let status = try place.status() else { throw .notFound }
    if status.isDirectory { return try setAside(place) }
    guard unlinkat(place.directory.descriptor, place.name.cString, 0) == 0 else { throw Failure(errno) }
    return nil
  }

  /// Moves a file or directory, whatever is in its way. - Returns: what was there and is to be discarded.
  static func move(_ source: Place, to target: Place) throws(Failure) -> Leftover? {
    guard let moved = try source.status() else { throw .notFound }
    let there = try target.status()
    // A file takes the place of a file in one step; with a directory at either end, what is in the way must leave
    // first.
    let leftover = there != nil && (moved.isDirectory || there?.isDirectory == true) ? try setAside(target) : nil
    guard
      renameat(source.directory.descriptor, source.name.cString, target.directory.descriptor, target.name.cString) == 0
    else {
      let code = errno
      leftover?.restore()
      throw Failure(code)
    }
    return leftover
  }

  private static func setAside(_ place: Place) throws(Failure) -> Leftover {
    let aside = Place(directory: place.directory, name: .temporary())
    guard renameat(place.directory.descriptor, place.name.cString, aside.directory.descriptor, aside.name.cString) == 0
    else { throw Failure(errno) }
    return Leftover(place: aside, origin: place.name)
  }

  private static func removeTree(_ directory: Entry, _ name: FileName, depth: Int) throws(Failure) {
    guard depth < FileName.depthLimit else { throw .failed(ELOOP) }
    var found = stat()
    guard fstatat(directory.descriptor, name.cString, &found, AT_SYMLINK_NOFOLLOW) == 0 else { throw Failure(errno) }
    guard found.st_mode & S_IFMT == S_IFDIR else {
      guard unlinkat(directory.descriptor, name.cString, 0) == 0 else { throw Failure(errno) }
      return
    }
    let inner = try open(directory, name)
    // What is removed while it is listed may hide the rest from the list.
    while true {
      guard let names = DirectoryNames(inner) else { throw Failure(errno) }
      var isEmpty = true
      while let name = names.next() {
        isEmpty = false
        try removeTree(inner, name, depth: depth + 1)
      }
      if isEmpty { break }
    }
    guard unlinkat(directory.descriptor, name.cString, AT_REMOVEDIR) == 0 else { throw Failure(errno) }
  }

  /// Copies a file, or a directory with everything in it but symlinks, to a name of its own beside the target. -
  /// Returns: where it is, to be moved to the target or abandoned.
  static func copy(_ source: Entry, beside target: Place, deep: Bool) throws(Failure) -> Place {
    let place = Place(directory: target.directory, name: .temporary())
    do { try copyTree(source, to: place, deep: deep, depth: 0) } catch {
      abandon(place)
      throw error
    }
    return place
  }

  /// Removes what took no place.
  static func abandon(_ place: Place) { try? removeTree(place.directory, place.name, depth: 0) }

  private static func copyTree(_ source: Entry, to place: Place, deep: Bool, depth: Int) throws(Failure) {
    guard depth < FileName.depthLimit else { throw .failed(ELOOP) }
    guard source.isDirectory else { return try copyFile(source, to: place) }
    try makeDirectory(place)
    let made = try open(place.directory, place.name)
    DeadProperties.copy(from: source, to: made.descriptor)
    guard deep else { return }
    guard let names = DirectoryNames(source) else { throw Failure(errno) }
    while let name = names.next() {
      guard !name.isTemporary else { continue }
      let child: Entry
      do { child = try open(source, name) } catch .forbidden { continue } catch .notFound { continue }
      try copyTree(child, to: Place(directory: made, name: name), deep: true, depth: depth + 1)
    }
  }

  private static func copyFile(_ source: Entry, to place: Place) throws(Failure) {
    let upload = try Upload(place.directory, name: place.name, mode: source.status.mode)
    let size = 1 << 20
    var offset: Int64 = 0
    while case let piece = try source.read(at: offset, count: size), !piece.isEmpty {
      var failure: Failure?
      piece.withUnsafeBytes { bytes in
        do throws(Failure) { try upload.write(bytes) } catch { failure = error }
      }
      if let failure { throw failure }
      offset += Int64(piece.count)
    }
    try upload.finish(modified: nil, properties: source)
    upload.keep()
  }

  /// A file that is being written under a name of its own, and takes its place when it is whole: whoever reads
  /// meanwhile, or after a broken upload, reads the old one.
  final class Upload: @unchecked Sendable {
    // Unchecked: used by one task of the thread pool after the other.
    private let directory: Entry
    private let temporary: FileName
    private let descriptor: Int32
    /// Its temporary name is not this one's to remove (any more).
    private var isKept = false

    /// - Parameter mode: permission bits of the file that it replaces or copies; nil for a new one.
    fileprivate init(_ directory: Entry, name: FileName, mode: mode_t?) throws(Failure) {
      self.directory = directory
      temporary = name
      descriptor = openat(
        directory.descriptor, temporary.cString, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode ?? 0o644)
      guard descriptor >= 0 else { throw Failure(errno) }
      if let mode { fchmod(descriptor, mode) }
    }

    deinit {
      guard descriptor >= 0 else { return }
      close(descriptor)
      abandon()
    }

    /// Nothing of it stays.
    func abandon() {
      guard !isKept else { return }
      isKept = true
      unlinkat(directory.descriptor, temporary.cString, 0)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
      var rest = bytes
      while !rest.isEmpty {
        let count = Self.put(descriptor, rest)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw Failure(errno) }
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

    /// Everything is written: on disk before it is acknowledged.
    /// - Parameters:
    ///   - modified: seconds since 1970, where the client says so.
    ///   - properties: whose dead properties it has from now on.
    func finish(modified: Int64?, properties: Entry?) throws(Failure) {
      if let properties { DeadProperties.copy(from: properties, to: descriptor) }
      guard fsync(descriptor) == 0 else { throw Failure(errno) }
      if let modified { ConfinedRoot.setTime(descriptor, modified) }
    }

    /// Takes a place of the same directory.
    func commit(to name: FileName) throws(Failure) {
      guard renameat(directory.descriptor, temporary.cString, directory.descriptor, name.cString) == 0 else {
        throw Failure(errno)
      }
      isKept = true
    }

    /// Stays where it was written.
    fileprivate func keep() { isKept = true }

    /// The names of its directory are on disk too.
    func settle() { fsync(directory.descriptor) }
  }

  /// - Throws: `forbidden` where a symlink or a directory is in the place.
  static func beginFile(_ place: Place) throws(Failure) -> Upload {
    let there = try place.status()
    if there?.isDirectory == true { throw .forbidden }
    return try Upload(place.directory, name: .temporary(), mode: there?.mode)
  }

  /// - Parameter seconds: since 1970.
  static func setTime(_ descriptor: Int32, _ seconds: Int64) {
    let time = timespec(tv_sec: Int(seconds), tv_nsec: 0)
    _ = withUnsafeBytes(of: (time, time)) { bytes in
      bytes.baseAddress.map { futimens(descriptor, $0.assumingMemoryBound(to: timespec.self)) }
    }
  }
}
