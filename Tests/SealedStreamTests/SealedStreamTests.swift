import Testing

@testable import SealedStream

private func hex(_ text: String) -> [UInt8] {
  let digits = text.compactMap { $0.hexDigitValue }
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// The vectors of edge-data-plane.md 5.2, and what a hostile peer may send.
@Suite struct SealedStreamTests {
  private let client: KeyPair
  private let server: KeyPair

  init() throws {
    client = try KeyPair(seed: Array(0x00...0x1f))
    server = try KeyPair(seed: Array(0x20...0x3f))
  }

  @Test func seedsGiveTheKeysOfTheVector() {
    #expect(client.publicKey == hex("0e0216223f147143d32615a91189c288c1728cba3cc5f9f621b1026e03d83129"))
    #expect(server.publicKey == hex("99f4674ecc87c0b8e712f192b8f49e7442a9376b4875967ababa28471019a93e"))
  }

  @Test func bothSidesDeriveTheSameKeys() throws {
    let dialer = try client.clientSessionKeys(hostPublicKey: server.publicKey)
    let host = try server.serverSessionKeys(dialerPublicKey: client.publicKey)
    func bytes(_ key: StreamKey) -> [UInt8] {
      key.secret.withBytes { Array(UnsafeBufferPointer(start: $0, count: 32)) }
    }
    #expect(bytes(dialer.tx) == hex("17821f6861b0f9ac897981c01cca46b711a0afd09010d3694895333903865af2"))
    #expect(bytes(dialer.rx) == hex("59f8af2a2061b2e35fd1cbfb708efd27a85c9924e6b83932e8a67c901a9998cb"))
    #expect(bytes(host.rx) == bytes(dialer.tx))
    #expect(bytes(host.tx) == bytes(dialer.rx))
  }

  @Test func opensTheMessagesOfTheVector() throws {
    let host = try server.serverSessionKeys(dialerPublicKey: client.publicKey)
    let fromDialer = try Opener(key: host.rx, header: hex("a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7"))
    #expect(try fromDialer.open(hex("3bd4fba09d011aa761583cf0358546b9b6e8aeff00ee")) == Array("hello".utf8))
    #expect(try fromDialer.open(hex("f98af63bf761204265c53b37256f459e1a")) == [])
    #expect(try fromDialer.open(hex("7680b50e2352a1870e0eb5539414d4696bd451add4c1c6c20fc5")) == Array("ziti wire".utf8))
    let dialer = try client.clientSessionKeys(hostPublicKey: server.publicKey)
    let fromHost = try Opener(key: dialer.rx, header: hex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"))
    #expect(try fromHost.open(hex("b87afe7a01d0b9b3e6b9657b12b3c0e03af077ee1b74")) == Array("world".utf8))
  }

  @Test func randomPairsTalk() throws {
    let dialer = KeyPair()
    let host = KeyPair()
    #expect(dialer.publicKey != host.publicKey)
    let sealer = Sealer(key: try dialer.clientSessionKeys(hostPublicKey: host.publicKey).tx)
    let opener = try Opener(
      key: try host.serverSessionKeys(dialerPublicKey: dialer.publicKey).rx, header: sealer.header)
    for size in [0, 1, 16, 17, 1_000, 65_536, 1_000_000] {
      let plaintext = [UInt8](repeating: UInt8(size & 0xff), count: size)
      let sealed = sealer.seal(plaintext)
      #expect(sealed.count == size + Sealer.overhead)
      #expect(try opener.open(sealed) == plaintext)
    }
  }

  @Test func writesIntoTheCallersBuffers() throws {
    let keys = try client.clientSessionKeys(hostPublicKey: server.publicKey)
    let sealer = Sealer(key: keys.tx)
    let opener = try Opener(key: keys.tx, header: sealer.header)
    var sealed = [UInt8](repeating: 0, count: 64)
    var plain = [UInt8](repeating: 0, count: 64)
    let written = try Array("abc".utf8).withUnsafeBytes { text in
      try sealed.withUnsafeMutableBytes { try sealer.seal(text, into: $0) }
    }
    #expect(written == 20)
    let read = try sealed[..<written].withUnsafeBytes { bytes in
      try plain.withUnsafeMutableBytes { try opener.open(bytes, into: $0) }
    }
    #expect(Array(plain[..<read]) == Array("abc".utf8))
    let short = UnsafeMutableRawBufferPointer.allocate(byteCount: 19, alignment: 1)
    defer { short.deallocate() }
    #expect(throws: SealedStreamError.bufferTooSmall(needed: 20, have: 19)) {
      _ = try Array("abc".utf8).withUnsafeBytes { text in try sealer.seal(text, into: short) }
    }
  }

  @Test func refusesHeadersAndKeysOfOtherSizes() throws {
    let keys = try client.clientSessionKeys(hostPublicKey: server.publicKey)
    for count in [0, 1, 23, 25, 41, 5_000] {
      #expect(throws: SealedStreamError.badHeader(count: count)) {
        try Opener(key: keys.rx, header: [UInt8](repeating: 1, count: count))
      }
    }
    for count in [0, 31, 33, 65] {
      #expect(throws: SealedStreamError.badPublicKey(count: count)) {
        try client.clientSessionKeys(hostPublicKey: [UInt8](repeating: 1, count: count))
      }
      #expect(throws: SealedStreamError.badSeed(count: count)) {
        try KeyPair(seed: [UInt8](repeating: 1, count: count))
      }
      #expect(throws: SealedStreamError.badKey(count: count)) {
        try StreamKey(bytes: [UInt8](repeating: 1, count: count))
      }
    }
    // A point of low order gives no secret.
    #expect(throws: SealedStreamError.badPublicKey(count: 32)) {
      try client.clientSessionKeys(hostPublicKey: [UInt8](repeating: 0, count: 32))
    }
  }

  @Test func refusesShortChangedRepeatedAndReorderedMessages() throws {
    let key = try client.clientSessionKeys(hostPublicKey: server.publicKey).tx
    let sealer = Sealer(key: key)
    let first = sealer.seal(Array("first".utf8))
    let second = sealer.seal(Array("second".utf8))
    func fresh() throws -> Opener { try Opener(key: key, header: sealer.header) }
    for count in 0..<first.count {
      let expected: SealedStreamError = count < Sealer.overhead ? .tooShort(count: count) : .notAuthentic
      #expect(throws: expected) { try fresh().open(Array(first[..<count])) }
    }
    for index in first.indices {
      var changed = first
      changed[index] ^= 0x40
      #expect(throws: SealedStreamError.notAuthentic) { try fresh().open(changed) }
    }
    let opener = try fresh()
    #expect(throws: SealedStreamError.notAuthentic) { try opener.open(second) }
    let repeating = try fresh()
    #expect(try repeating.open(first) == Array("first".utf8))
    #expect(throws: SealedStreamError.notAuthentic) { try repeating.open(first) }
  }

  /// A7 of field.md D.4.
  @Test func lengthsOfPartsAtTheirExtremesAreWithinThePlaintextOrAnError() throws {
    let plaintext = hex("0500 68656c6c6f 0300 616263 0000")
    for offset in [0, 7, 12] {
      for length: UInt16 in [0, 1, 0x7fff, 0x8000, .max] {
        var changed = plaintext
        changed[offset] = UInt8(length & 0xff)
        changed[offset + 1] = UInt8(length >> 8)
        let parts = try? PlaintextParts.parts(of: changed)
        #expect((parts ?? []).reduce(0) { $0 + $1.count + 2 } <= changed.count)
        if length > 0x7ffe { #expect(parts == nil) }
        var joined = changed
        let count = joined.withUnsafeMutableBytes { try? PlaintextParts.joinInPlace($0) }
        #expect(count == parts.map { $0.reduce(0) { $0 + $1.count } })
      }
    }
  }

  @Test func multipartSplits() throws {
    let plaintext = hex("0500 68656c6c6f 0300 616263 0000")
    #expect(try PlaintextParts.parts(of: plaintext) == [Array("hello".utf8), Array("abc".utf8), []])
    #expect(try PlaintextParts.parts(of: []) == [])
    var joined = plaintext
    let count = try joined.withUnsafeMutableBytes { try PlaintextParts.joinInPlace($0) }
    #expect(Array(joined[..<count]) == Array("helloabc".utf8))
    for cut in [1, 3, 6, 8, 11, 13] {
      #expect(throws: SealedStreamError.badParts) { try PlaintextParts.parts(of: Array(plaintext[..<cut])) }
      var copy = Array(plaintext[..<cut])
      #expect(throws: SealedStreamError.badParts) {
        _ = try copy.withUnsafeMutableBytes { try PlaintextParts.joinInPlace($0) }
      }
    }
  }
}
