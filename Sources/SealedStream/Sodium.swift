import CSodium

/// The library, initialised once; sodium may be initialised from many threads.
enum Sodium {
  static let isReady: Bool = sodium_init() >= 0

  /// Sodium fails to start only where the system has no source of random bytes; no key can be made there.
  static func require() { precondition(isReady, "libsodium cannot start: the system offers no random bytes") }
}

/// Bytes that are wiped when the last owner lets go of them.
///
/// Sendable without the compiler's proof: the memory is written in the initialiser, before anybody else can hold the
/// object, only read afterwards, and freed once, by `deinit`.
final class SecretBytes: @unchecked Sendable {
  private let memory: UnsafeMutablePointer<UInt8>
  private let count: Int

  /// - Parameter fill: gets `count` zero bytes to write the secret to.
  init(count: Int, fill: (UnsafeMutablePointer<UInt8>) -> Void) {
    memory = .allocate(capacity: count)
    memory.initialize(repeating: 0, count: count)
    self.count = count
    fill(memory)
  }

  deinit {
    sodium_memzero(memory, count)
    memory.deallocate()
  }

  func withBytes<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result { body(memory) }
}
