import Testing

@testable import Wire

/// The vectors of fabric-planes.md, appendix B, that carry headers; F3 and F5 are protobuf and tested with
/// `WireSchemas`.
@Suite struct FabricVectorTests {
  private static let version = VersionInfo(
    version: "v2.1.0", revision: "804f55abb", buildDate: "2026-01-01", os: "linux", arch: "amd64")

  private func check<Value: TypedMessage>(
    _ text: String, _ value: Value, sequence: Int32, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let bytes = try hex(text)
    let message = try Message(parsing: bytes)
    #expect(message.sequence == sequence, sourceLocation: sourceLocation)
    #expect(try Value(parsing: message) == value, sourceLocation: sourceLocation)
    #expect(value.message().numbered(sequence) == message, sourceLocation: sourceLocation)
    #expect(value.message().encoded().count == bytes.count, sourceLocation: sourceLocation)
  }

  @Test func f1RouterHello() throws {
    try check(
      """
      0306090c 00000000 ffffffff 65000000 02000000  04000000 27000000
      76322e312e307c3830346635356162627c323032362d30312d30317c6c696e75787c616d643634  ea030000 08000000 4000000000000076  09000000 01000000 01
      07000000 0c000000 6374726c2e64656661756c74  0b000000 01000000 01  7231
      """,
      ControlMessages.RouterHello(
        routerID: "r1", version: Self.version, capabilities: CapabilityMask([1, 2, 4, 5, 6, -2])), sequence: -1)
  }

  @Test func f2ControllerHelloResult() throws {
    try check(
      """
      0306090c 02000000 ffffffff a4000000 00000000  01000000 04000000 ffffffff  02000000 01000000 01  00000000 04000000 586b3471  04000000 27000000
      76322e312e307c3830346635356162627c323032362d30312d30317c6c696e75787c616d643634  08000000 05000000 6374726c31  09000000 01000000 01
      07000000 0c000000 6374726c2e64656661756c74  0a000000 10000000 000102030405060708090a0b0c0d0e0f  0c000000 01000000 7e  ea030000 01000000 7e
      """,
      ControlMessages.ControllerHelloResult(
        replyFor: -1, version: Self.version, controllerID: "ctrl1", capabilities: CapabilityMask([1, 2, 3, 4, 5, 6]),
        channelID: "Xk4q",
        isGrouped: true,
        underlayType: "ctrl.default", groupSecret: Array(0..<16)), sequence: -1)
  }

  @Test func f4RouteResults() throws {
    try check(
      """
      0306090c fe030000 09000000 2b000000 02000000  01000000 04000000 05000000  4d040000 04000000 00000000  4e040000 01000000 01
      eb030000 02000000 ccdd  6331
      """,
      ControlMessages.RouteResult(
        replyFor: 5, circuitID: "c1", attempt: 0,
        outcome: .success(peerData: [HeaderID.publicKey.peerDataKey: [0xcc, 0xdd]])), sequence: 9)
    try check(
      """
      0306090c fe030000 0a000000 37000000 02000000  01000000 04000000 05000000  4d040000 04000000 00000000  4f040000 0e000000
      6469616c2074696d6564206f7574  50040000 01000000 03  6331
      """,
      ControlMessages.RouteResult(
        replyFor: 5, circuitID: "c1", attempt: 0, outcome: .failure(text: "dial timed out", code: .dialTimedOut)),
      sequence: 10)
  }

  @Test func f6CreateCircuit() throws {
    try check(
      """
      0306090c fa4e0000 28000000 4f000000 00000000  0b000000 07000000 7376632d6a7774  0e000000 07000000 6170692d6a7774
      0c000000 0b000000 0100000003000000616263  0d000000 00000000  0a000000 0e000000 01000000eb03000002000000aabb
      """,
      ControlMessages.CreateCircuitV2(
        sessionToken: "svc-jwt", apiSessionToken: "api-jwt", fingerprints: ["abc"],
        peerData: [HeaderID.publicKey.peerDataKey: [0xaa, 0xbb]]),
      sequence: 40)
    let bytes = try hex(
      """
      0306090c fb4e0000 32000000 55000000 00000000  01000000 04000000 28000000  0b000000 02000000 6331  0c000000 02000000 6931
      0a000000 0e000000 01000000eb03000002000000ccdd  0d000000 17000000 0100000009000000736572766963654964020000007331
      """)
    let created = ControlMessages.CircuitCreated(
      replyFor: 40, circuitID: "c1", address: "i1", peerData: [HeaderID.publicKey.peerDataKey: [0xcc, 0xdd]],
      tags: ["serviceId": "s1"])
    #expect(created.message(answering: .createCircuitV2).numbered(50).encoded() == bytes)
    #expect(try ControlMessages.CircuitCreated(parsing: Message(parsing: bytes)) == created)
  }

  @Test func f7LinkHello() throws {
    try check(
      """
      0306090c 00000000 ffffffff 72000000 02000000  02000000 02000000 7231  00000000 04000000 30633762  03000000 06000000 76322e312e30
      04000000 00000000  06000000 02000000 7232  64000000 02000000 6c31  05000000 04000000 01000000  0b000000 01000000 01  09000000 01000000 01
      07000000 0c000000 6c696e6b2e64656661756c74  6c31
      """,
      LinkHello(
        linkID: "l1", connectionID: "0c7b", routerID: "r1", routerVersion: "v2.1.0", iteration: 1, dialledRouterID: "r2"
      ), sequence: -1)
  }

  @Test func f8LinkPayloads() throws {
    let start =
      """
      0306090c 4c040000 14000000 3c000000 00000000  d1070000 04000000 00000100  d0080000 02000000 6331  d2080000 04000000 04000000
      d1080000 08000000 0000000000000000  d4080000 02000000 3830
      """
    try check(
      start,
      XgressMessages.Payload(
        circuitID: "c1", sequence: 0, flags: .circuitStart, rtt: 0x3038, payloadHeaders: [1: [0, 0, 1, 0]]),
      sequence: 20)
    try check(
      "0306090c 4c040000 15000000 24000000 05000000  d0080000 02000000 6331  d1080000 08000000 0100000000000000  d4080000 02000000 3930  68656c6c6f",
      XgressMessages.Payload(circuitID: "c1", sequence: 1, rtt: 0x3039, data: Array("hello".utf8)), sequence: 21)
    try check(
      """
      0306090c 4d040000 1e000000 2c000000 04000000  d4080000 02000000 3930  d0080000 02000000 6331  d2080000 04000000 02000000
      d3080000 04000000 05000000  00000001
      """,
      XgressMessages.Acknowledgement(
        circuitID: "c1", flags: .originator, rtt: 0x3039, receiveBufferSize: 5, sequences: [1]), sequence: 30)

    let bytes = try hex(start)
    let fields = try bytes.withUnsafeBytes { try XgressFields.scan(UnsafeRawBufferPointer(rebasing: $0[20..<80])) }
    let circuit = try #require(fields.circuitID)
    #expect(Array(bytes[(20 + circuit.lowerBound)..<(20 + circuit.upperBound)]) == Array("c1".utf8))
    #expect(fields.sequence == 0)
    #expect(fields.flags == .circuitStart)
    #expect(fields.connID == nil)
    #expect(fields.rttOffset == 58)
  }

  @Test func f9Heartbeats() throws {
    var beat = Message(contentType: .heartbeat, sequence: 31)
    beat.headers.set(.heartbeat, UInt64(1_785_000_000_000_000_000))
    #expect(
      try beat.encoded() == hex("0306090c 05000000 1f000000 10000000 00000000  05000000 08000000 008012ec0a98c518"))
    let answer = try Message(
      parsing: hex("0306090c 05000000 20000000 10000000 00000000  06000000 08000000 008012ec0a98c518"))
    #expect(answer.headers.uint64(.heartbeatResponse) == 1_785_000_000_000_000_000)
  }

  @Test func aHelloOfA1xRouterHasItsListenersInHeader10() throws {
    let message = Message(
      .hello, -1,
      [
        (.helloVersion, Array(Self.version.text.utf8)), (.groupSecret, [1, 2]), (.isFirstGroupConnection, [1]),
        (12, [0x02]),
      ], body: "old")
    let hello = try ControlMessages.RouterHello(parsing: message)
    #expect(hello.listeners == [1, 2])
    #expect(!hello.isGrouped && !hello.isFirstGroupConnection && hello.groupSecret == nil)
  }
}
