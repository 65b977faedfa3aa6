import Foundation
import Testing

@testable import Wire

/// Everything that reads bytes of a peer, tried on one input; only a trap fails.
func readEverything(_ bytes: [UInt8], limits: FrameLimits = .stranger) {
  bytes.withUnsafeBytes { raw in
    _ = try? FrameHeader.parse(raw, limits: limits)
    _ = try? EdgeFields.scan(raw)
    _ = try? XgressFields.scan(raw)
    _ = try? Headers(parsing: raw)
  }
  _ = StructuredError(jsonText: String(decoding: bytes, as: UTF8.self))
  guard let message = try? Message(parsing: bytes, limits: limits) else { return }
  readTyped(message)
}

/// Every typed reading of one message, whatever its type says.
func readTyped(_ message: Message) {
  let types: [any TypedMessage.Type] = [
    EdgeMessages.Hello.self, EdgeMessages.HelloResult.self, EdgeMessages.Connect.self, EdgeMessages.ConnectV2.self,
    EdgeMessages.StateConnected.self,
    EdgeMessages.StateClosed.self, EdgeMessages.Data.self, EdgeMessages.Bind.self, EdgeMessages.Unbind.self,
    EdgeMessages.UpdateBind.self,
    EdgeMessages.HealthEvent.self, EdgeMessages.Dial.self, EdgeMessages.DialSuccess.self, EdgeMessages.DialFailed.self,
    EdgeMessages.BindSuccess.self,
    EdgeMessages.ConnInspectRequest.self, EdgeMessages.ConnInspectResponse.self, EdgeMessages.UpdateToken.self,
    EdgeMessages.UpdateTokenSuccess.self,
    EdgeMessages.UpdateTokenFailure.self, EdgeMessages.InspectRequest.self, EdgeMessages.InspectResponse.self,
    EdgeMessages.TraceRoute.self,
    EdgeMessages.TraceRouteResponse.self, ControlMessages.CreateCircuitV2.self, ControlMessages.CreateCircuitV3.self,
    ControlMessages.Failure.self,
    ControlMessages.RouteResult.self, ControlMessages.RouterHello.self, ControlMessages.ControllerHelloResult.self,
    LinkHello.self,
    XgressMessages.Payload.self, XgressMessages.Acknowledgement.self, XgressMessages.Control.self,
    XgressMessages.Close.self,
  ]
  for type in types {
    var typed = message
    typed.contentType = type.contentType
    if let value = try? type.init(parsing: typed) {
      #expect(value.message().contentType == type.contentType)
    }
  }
  var created = message
  created.contentType = .createCircuitV3Response
  _ = try? ControlMessages.CircuitCreated(parsing: created)
}

@Suite struct HostileInputTests {
  private static let sample: Message = {
    var message = EdgeMessages.Bind(
      connID: 7, token: Array("token".utf8), publicKey: Array(repeating: 9, count: 32), cost: 5, precedence: .required,
      listenerID: [0, 1, 2]
    ).message()
    message.headers.set(.inspectRequestedValues, list: ["a", "bc"])
    message.headers.set(ControlHeader.peerData, map: [HeaderID.publicKey.peerDataKey: [1, 2, 3]])
    return message
  }()

  @Test func aFrameCutAnywhereIsIncompleteNeverATrap() throws {
    let bytes = Self.sample.encoded()
    for count in 0..<bytes.count {
      let cut = Array(bytes[..<count])
      #expect(throws: WireError.truncated) { try Message(parsing: cut) }
      #expect(try cut.withUnsafeBytes { try FrameHeader.parse($0, limits: .peer) } == nil || count >= FrameHeader.size)
    }
  }

  @Test func aHeaderSectionCutAnywhereIsMisalignedOrShorter() throws {
    var section: [UInt8] = []
    Self.sample.headers.encode(into: &section)
    var ends: Set<Int> = [0]
    for (_, value) in Self.sample.headers.all { ends.insert((ends.max() ?? 0) + 8 + value.count) }
    for count in 0...section.count {
      let cut = Array(section[..<count])
      cut.withUnsafeBytes { raw in
        if ends.contains(count) {
          #expect(throws: Never.self) { try Headers(parsing: raw) }
          #expect(throws: Never.self) { try EdgeFields.scan(raw) }
          #expect(throws: Never.self) { try XgressFields.scan(raw) }
        } else {
          #expect(throws: WireError.misalignedHeaders) { try Headers(parsing: raw) }
          #expect(throws: WireError.misalignedHeaders) { try EdgeFields.scan(raw) }
          #expect(throws: WireError.misalignedHeaders) { try XgressFields.scan(raw) }
        }
      }
    }
  }

  @Test func sizesBeyondTheLimitsAreRefusedBeforeAnyBodyArrives() throws {
    func header(_ headers: UInt32, _ body: UInt32, magic: UInt32 = FrameHeader.magic) -> [UInt8] {
      [magic, 0, 1, headers, body].flatMap(le)
    }
    func parse(_ bytes: [UInt8], _ limits: FrameLimits) throws -> FrameHeader? {
      try bytes.withUnsafeBytes { try FrameHeader.parse($0, limits: limits) }
    }
    #expect(throws: WireError.headersTooLong(16_385, limit: 16_384)) { try parse(header(16_385, 0), .stranger) }
    #expect(throws: WireError.bodyTooLong(4193, limit: 4192)) { try parse(header(0, 4193), .stranger) }
    #expect(throws: WireError.headersTooLong(Int(UInt32.max), limit: 1 << 20)) { try parse(header(.max, .max), .peer) }
    #expect(throws: WireError.bodyTooLong(Int(UInt32.max), limit: 64 << 20)) { try parse(header(1 << 20, .max), .peer) }
    #expect(try parse(header(1 << 20, 64 << 20), .peer)?.frameLength == 20 + (1 << 20) + (64 << 20))
    #expect(throws: WireError.badMagic) { try parse(header(0, 0, magic: 0x0d09_0603), .stranger) }
    #expect(try parse(Array(header(0, 0)[..<19]), .stranger) == nil)
  }

  @Test func aRecordThatClaimsFourGigabytesIsRefused() throws {
    let section = le(1000) + le(.max) + [1, 2, 3, 4]
    section.withUnsafeBytes { raw in
      #expect(throws: WireError.misalignedHeaders) { try Headers(parsing: raw) }
      #expect(throws: WireError.misalignedHeaders) { try EdgeFields.scan(raw) }
    }
  }

  @Test func aMessageOfThousandsOfRecordsIsRefused() throws {
    let many = (0..<UInt32(Headers.recordLimit + 1)).flatMap { le($0) + le(0) }
    many.withUnsafeBytes { raw in
      #expect(throws: WireError.tooManyHeaders(limit: Headers.recordLimit)) { try Headers(parsing: raw) }
      #expect(throws: Never.self) { try EdgeFields.scan(raw) }
    }
  }

  @Test func randomBytesNeverTrap() {
    var random = SeededGenerator(seed: 1)
    for _ in 0..<20_000 {
      let count = Int.random(in: 0...120, using: &random)
      var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      // Half of them begin like a frame, with small lengths, to come further.
      if count >= 20, Bool.random(using: &random) {
        bytes.replaceSubrange(0..<4, with: le(FrameHeader.magic))
        let headers = UInt32.random(in: 0...UInt32(count - 20), using: &random)
        bytes.replaceSubrange(12..<16, with: le(headers))
        bytes.replaceSubrange(16..<20, with: le(UInt32(count - 20) - headers))
      }
      readEverything(bytes)
    }
  }

  @Test func mutatedFramesNeverTrap() throws {
    let seeds = try Corpus.load().map { $0.bytes }
    var random = SeededGenerator(seed: 2)
    for _ in 0..<10_000 {
      var bytes = try #require(seeds.randomElement(using: &random))
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        bytes[index] =
          [0, 1, 0x7f, 0x80, 0xff, .random(in: 0...255, using: &random)].randomElement(using: &random) ?? 0
      }
      if Int.random(in: 0..<8, using: &random) == 0 {
        bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
      }
      readEverything(bytes)
    }
  }

  /// A7 of field.md D.4.
  @Test func everyNumberAtItsExtremesInEveryRecordedFrameIsAValueOrAnError() throws {
    let extremes: [UInt32] = [0, .max, UInt32(Int32.max), 1 << 31]
    for file in try Corpus.load() {
      for offset in Self.numberOffsets(file.bytes) {
        for value in extremes {
          var bytes = file.bytes
          bytes.replaceSubrange(offset..<offset + 4, with: le(value))
          for limits in [FrameLimits.stranger, .peer] { readEverything(bytes, limits: limits) }
          guard offset == 12 || offset == 16, value > 1 << 30 else { continue }
          #expect(throws: WireError.self, "\(file.name) at \(offset)") {
            try bytes.withUnsafeBytes { try FrameHeader.parse($0, limits: .peer) }
          }
        }
      }
    }
  }

  /// Where a frame has numbers of four bytes: its own, keys and lengths of header records, and what may be one at the
  /// beginning of values and of the body.
  private static func numberOffsets(_ frame: [UInt8]) -> [Int] {
    var offsets = [4, 8, 12, 16]
    func number(_ offset: Int) -> Int {
      Int(frame[offset]) | Int(frame[offset + 1]) << 8 | Int(frame[offset + 2]) << 16 | Int(frame[offset + 3]) << 24
    }
    let end = 20 + number(12)
    var offset = 20
    while offset < end {
      let length = number(offset + 4)
      offsets += [offset, offset + 4] + stride(from: offset + 8, to: offset + 8 + min(length, 16) - 3, by: 4)
      offset += 8 + length
    }
    return offsets + stride(from: end, to: min(frame.count, end + 32) - 3, by: 4)
  }

  @Test func randomHeaderValuesNeverTrapATypedReader() {
    var random = SeededGenerator(seed: 3)
    let ids: [Int32] =
      Array(0...18) + [100, 128] + Array(1000...1040) + Array(1100...1104) + Array(2000...2004) + Array(2255...2260)
    for _ in 0..<5_000 {
      var message = Message(contentType: .hello, sequence: .random(in: .min ... .max, using: &random))
      for _ in 0..<Int.random(in: 0...12, using: &random) {
        let value = (0..<Int.random(in: 0...12, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        message.headers[HeaderID(rawValue: ids.randomElement(using: &random) ?? 0)] = value
      }
      message.body = (0..<Int.random(in: 0...9, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      readTyped(message)
    }
  }

  @Test func theSeedCorpusParses() throws {
    let corpus = try Corpus.load()
    #expect(corpus.count >= 20)
    for file in corpus { #expect(throws: Never.self, "\(file.name)") { try Message(parsing: file.bytes) } }
  }

  @Test func aFrameIsReaddressedInPlaceOnlyWhenItHasAConnID() throws {
    var frame = EdgeMessages.Data(connID: 7, flags: .fin, body: [1, 2]).message().numbered(3).encoded()
    let fields = try frame.withUnsafeBytes {
      try EdgeFields.scan(UnsafeRawBufferPointer(rebasing: $0[20..<(frame.count - 2)]))
    }
    #expect(fields.connID == 7 && fields.flags == .fin)
    #expect(frame.withUnsafeMutableBytes { $0.readdressFrame(fields, connID: 0x8000_0001, sequence: -2) })
    #expect(
      try Message(parsing: frame)
        == EdgeMessages.Data(connID: 0x8000_0001, flags: .fin, body: [1, 2]).message().numbered(-2))
    var other = Message(contentType: .data).encoded()
    let before = other
    #expect(!other.withUnsafeMutableBytes { $0.readdressFrame(EdgeFields(), connID: 1, sequence: 1) })
    #expect(!other.withUnsafeMutableBytes { $0.readdressFrame(fields, connID: 1, sequence: 1) })
    #expect(other == before)
  }
}

/// The seeds of the fuzzer (Fuzz/FrameFuzz.swift): one frame a file.
struct Corpus {
  let name: String
  let bytes: [UInt8]

  static func load() throws -> [Corpus] {
    let folder = Bundle.module.bundleURL.appending(path: "Resources/corpus")
    return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map { name in
      Corpus(name: name, bytes: Array(try Foundation.Data(contentsOf: folder.appending(path: name))))
    }
  }
}
