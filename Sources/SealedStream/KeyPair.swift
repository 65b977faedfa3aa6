import CSodium

/// A key pair of the key exchange (X25519). A dialler makes one a dial, a host one a binding.
public struct KeyPair: Sendable {
  public static let publicKeySize = 32

  /// Travels in header 1003.
  public let publicKey: [UInt8]
  private let secretKey: SecretBytes

  /// A random pair.
  public init() {
    Sodium.require()
    var publicKey = [UInt8](repeating: 0, count: Self.publicKeySize)
    secretKey = SecretBytes(count: Int(crypto_kx_SECRETKEYBYTES)) { secret in _ = crypto_kx_keypair(&publicKey, secret)
    }
    self.publicKey = publicKey
  }

  /// The pair that `seed` stands for.
  /// - Parameter seed: 32 bytes, as secret as the key.
  /// - Throws: `badSeed`.
  public init(seed: [UInt8]) throws(SealedStreamError) {
    guard seed.count == Int(crypto_kx_SEEDBYTES) else { throw .badSeed(count: seed.count) }
    Sodium.require()
    var publicKey = [UInt8](repeating: 0, count: Self.publicKeySize)
    secretKey = SecretBytes(count: Int(crypto_kx_SECRETKEYBYTES)) { secret in
      _ = crypto_kx_seed_keypair(&publicKey, secret, seed)
    }
    self.publicKey = publicKey
  }

  /// The keys of a dialler.
  /// - Parameter hostPublicKey: header 1003 of StateConnected.
  /// - Throws: `badPublicKey`.
  public func clientSessionKeys(hostPublicKey: [UInt8]) throws(SealedStreamError) -> SessionKeys {
    try sessionKeys(peer: hostPublicKey, exchange: crypto_kx_client_session_keys)
  }

  /// The keys of a host.
  /// - Parameter dialerPublicKey: header 1003 of Dial.
  /// - Throws: `badPublicKey`.
  public func serverSessionKeys(dialerPublicKey: [UInt8]) throws(SealedStreamError) -> SessionKeys {
    try sessionKeys(peer: dialerPublicKey, exchange: crypto_kx_server_session_keys)
  }

  /// Receiving key, sending key, own public and secret key, public key of the peer.
  private typealias Exchange = (
    UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?, UnsafePointer<UInt8>, UnsafePointer<UInt8>,
    UnsafePointer<UInt8>
  ) -> Int32

  private func sessionKeys(peer: [UInt8], exchange: Exchange) throws(SealedStreamError) -> SessionKeys {
    guard peer.count == Self.publicKeySize else { throw .badPublicKey(count: peer.count) }
    var outcome: Int32 = -1
    let size = Int(crypto_kx_SESSIONKEYBYTES)
    var receiving: SecretBytes?
    let sending = SecretBytes(count: size) { tx in
      receiving = SecretBytes(count: size) { rx in
        outcome = secretKey.withBytes { secret in exchange(rx, tx, publicKey, secret, peer) }
      }
    }
    guard outcome == 0, let receiving else { throw .badPublicKey(count: peer.count) }
    return SessionKeys(rx: StreamKey(receiving), tx: StreamKey(sending))
  }
}

/// The two keys of a connection, one a direction.
public struct SessionKeys: Sendable {
  /// Opens what the peer sends.
  public let rx: StreamKey
  /// Seals what we send.
  public let tx: StreamKey
}

/// The key of one direction of one connection, wiped when nobody holds it.
public struct StreamKey: Sendable {
  let secret: SecretBytes

  init(_ secret: SecretBytes) { self.secret = secret }

  /// A key from its 32 bytes.
  /// - Throws: `badKey`.
  public init(bytes: [UInt8]) throws(SealedStreamError) {
    guard bytes.count == Int(crypto_secretstream_xchacha20poly1305_KEYBYTES) else { throw .badKey(count: bytes.count) }
    secret = SecretBytes(count: bytes.count) { memory in memory.update(from: bytes, count: bytes.count) }
  }
}
