import CSodium

/// The library, initialised once; sodium may be initialised from many threads.
enum Sodium {
  static let isReady: Bool = sodium_init() >= 0

  /// Sodium fails to start only where the system has no source of random bytes; no key can be made there.
  static func require() { precondition(isReady, "libsodium cannot start: the system offers no random bytes") }
}

/// Bytes that are wiped when the last owner lets go of them.
final class SecretBytes: Sendable {
  private let storage: UnsafeMutableRawBufferPointerBox

  init(count: Int, fill: (UnsafeMutableBufferPointer<UInt8>) -> Void) {
    let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: count)
    memory.initialize(repeating: 0)
    fill(memory)
    storage = UnsafeMutableRawBufferPointerBox(memory: memory)
  }

  convenience init(_ bytes: some Collection<UInt8>) {
    self.init(count: bytes.count) { memory in _ = memory.update(fromContentsOf: bytes) }
  }

  deinit {
    sodium_memzero(storage.memory.baseAddress, storage.memory.count)
    storage.memory.deallocate()
  }

  func withBytes<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result {
    // Never empty: made with the sizes of keys only.
    guard let base = storage.memory.baseAddress else { preconditionFailure("secrets have bytes") }
    return body(base)
  }
}

/// Written once before it is shared and only read afterwards, so threads may read it together; freed by its one owner.
private struct UnsafeMutableRawBufferPointerBox: @unchecked Sendable {
  let memory: UnsafeMutableBufferPointer<UInt8>
}
