#if canImport(Darwin)
  import Darwin
#else
  import CLinuxShims
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #endif
#endif

/// Properties that clients of a drive keep beside its files, and that mean nothing to it (RFC 4918, 4): in one extended
/// attribute of the file, as XML, so that they go where the file goes.
enum DeadProperties {
  private static let attribute = "user.swiftlet.properties"
  private static let root = "properties"
  /// Properties of one file.
  private static let countLimit = 256

  /// None where the file system keeps none.
  static func read(_ entry: ConfinedRoot.Entry) -> [XMLElement] {
    guard let bytes = load(entry), let document = try? XMLElement(parsing: bytes) else { return [] }
    return document.children
  }

  /// - Throws: `failed(ENOSPC)` for more than the file system keeps, `forbidden` where it keeps none.
  static func write(_ properties: [XMLElement], to entry: ConfinedRoot.Entry) throws(ConfinedRoot.Failure) {
    guard !properties.isEmpty else {
      guard load(entry) == nil || remove(entry.descriptor) == 0 else { throw failure(errno) }
      return
    }
    let text = XMLElement(namespace: "", name: root, nodes: properties.map { .element($0) }).xml
    // What could not be read any more would be lost with all the others.
    guard properties.count <= countLimit, (try? XMLElement(parsing: text.utf8)) != nil else { throw .failed(ENOSPC) }
    guard store(entry.descriptor, Array(text.utf8)) == 0 else { throw failure(errno) }
  }

  /// What cannot be kept there is not.
  static func copy(from entry: ConfinedRoot.Entry, to descriptor: Int32) {
    if let bytes = load(entry) { _ = store(descriptor, bytes) }
  }

  private static func failure(_ code: Int32) -> ConfinedRoot.Failure {
    switch code {
    case ENOSPC, E2BIG, ERANGE, EDQUOT: .failed(ENOSPC)
    case ENOTSUP, EOPNOTSUPP: .forbidden
    default: .init(code)
    }
  }

  private static func load(_ entry: ConfinedRoot.Entry) -> [UInt8]? {
    let size = get(entry.descriptor, nil, 0)
    guard size > 0, size <= XMLElement.sizeLimit else { return nil }
    var bytes = [UInt8](repeating: 0, count: size)
    let count = bytes.withUnsafeMutableBytes { get(entry.descriptor, $0.baseAddress, $0.count) }
    return count == size ? bytes : nil
  }

  private static func get(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer?, _ size: Int) -> Int {
    #if canImport(Darwin)
      fgetxattr(descriptor, attribute, buffer, size, 0, 0)
    #else
      fgetxattr(descriptor, attribute, buffer, size)
    #endif
  }

  private static func store(_ descriptor: Int32, _ bytes: [UInt8]) -> Int32 {
    #if canImport(Darwin)
      fsetxattr(descriptor, attribute, bytes, bytes.count, 0, 0)
    #else
      fsetxattr(descriptor, attribute, bytes, bytes.count, 0)
    #endif
  }

  private static func remove(_ descriptor: Int32) -> Int32 {
    #if canImport(Darwin)
      fremovexattr(descriptor, attribute, 0)
    #else
      fremovexattr(descriptor, attribute)
    #endif
  }
}
