import Testing

@testable import Wire

/// The vectors of edge-data-plane.md 2.14: bytes to values, values to bytes.
@Suite struct EdgeVectorTests {
  private static let token = "cb7c9ed3-18f5-4ec3-8db5-1f1c4d0a5e01"

  /// The bytes parse to the message, and the message encodes to the bytes.
  private func check(_ text: String, _ message: Message, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let bytes = try hex(text)
    #expect(try Message(parsing: bytes) == message, sourceLocation: sourceLocation)
    #expect(message.encoded() == bytes, sourceLocation: sourceLocation)
  }

  @Test func v1HelloOfCSDK() throws {
    try check(
      """
      0306090c 00000000 01000000 2c000000 12000000
      ea030000 24000000 63623763396564332d313866352d346563332d386462352d316631633464306135653031
      7a6974692d73646b2d635b305d40686f7374
      """,
      EdgeMessages.Hello(name: "ziti-sdk-c[0]@host", token: Self.token).message().numbered(1))
  }

  @Test func v2HelloOfGoSDK() throws {
    let hello = EdgeMessages.Hello(name: "client-cn", token: Self.token)
    try check(
      """
      0306090c 00000000 ffffffff 2c000000 09000000
      ea030000 24000000 63623763396564332d313866352d346563332d386462352d316631633464306135653031
      636c69656e742d636e
      """, hello.message())
    #expect(try EdgeMessages.Hello(parsing: hello.message()) == hello)
  }

  @Test func v3HelloResult() throws {
    let bytes = try hex(
      """
      0306090c 02000000 ffffffff 5e000000 00000000
      00000000 04000000 586b3471
      01000000 04000000 ffffffff
      02000000 01000000 01
      04000000 25000000 76312e362e32307c6162633132337c323032362d30312d30317c6c696e75787c616d643634
      08000000 08000000 726f757465722d31
      """)
    let message = try Message(parsing: bytes)
    let expected = EdgeMessages.HelloResult(
      replyFor: -1,
      version: VersionInfo(version: "v1.6.20", revision: "abc123", buildDate: "2026-01-01", os: "linux", arch: "amd64"),
      channelID: "Xk4q",
      routerID: "router-1")
    #expect(try EdgeMessages.HelloResult(parsing: message) == expected)
    #expect(message == expected.message())
    #expect(message.replyFor == -1)
    #expect(expected.message().encoded().count == bytes.count)
  }

  @Test func v4NegativeHelloResult() throws {
    let bytes = try hex(
      """
      0306090c 02000000 ffffffff 21000000 13000000
      01000000 04000000 01000000
      02000000 01000000 00
      0d000000 04000000 02000000
      696e76616c6964206170692073657373696f6e
      """)
    let refusal = EdgeMessages.HelloResult(replyFor: 1, isSuccess: false, text: "invalid api session", rejectClass: 2)
    #expect(refusal.message().encoded() == bytes)
    #expect(try EdgeMessages.HelloResult(parsing: Message(parsing: bytes)) == refusal)
  }

  @Test func v5LatencyRequestAndAnswer() throws {
    let stamp: [UInt8] = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]
    let request = Message(.latency, 2, [(.reflected, stamp)])
    try check("0306090c 03000000 02000000 10000000 00000000  80000000 08000000 8877665544332211", request)
    var answer = Message.result(success: true, replyTo: request).numbered(7)
    answer.headers[.reflected] = stamp
    try check(
      "0306090c 02000000 07000000 25000000 00000000  01000000 04000000 02000000  02000000 01000000 01  80000000 08000000 8877665544332211",
      answer)
  }

  @Test func v6ConnectAndStateConnected() throws {
    var connect = EdgeMessages.Connect(connID: 1, token: "svc-token").message().numbered(3)
    connect.headers.set(.seq, UInt32(0))
    connect.headers.set(.callerID, "alice")
    try check(
      """
      0306090c 6fed0000 03000000 25000000 09000000  e8030000 04000000 01000000  e9030000 04000000 00000000  f0030000 05000000 616c696365
      7376632d746f6b656e
      """, connect)
    #expect(
      try EdgeMessages.Connect(parsing: connect)
        == EdgeMessages.Connect(connID: 1, token: "svc-token", options: EdgeMessages.DialOptions(callerID: "alice")))
    let connected = EdgeMessages.StateConnected(replyFor: 3, connID: 1, circuitID: "c1")
    try check(
      "0306090c 70ed0000 08000000 22000000 00000000  01000000 04000000 03000000  e8030000 04000000 01000000  02040000 02000000 6331",
      connected.message().numbered(8))
    #expect(try EdgeMessages.StateConnected(parsing: connected.message()) == connected)
  }

  @Test func v7DataAndClose() throws {
    let data = Message(.data, 4, [(.connID, le(1)), (.seq, le(0)), (.flags, le(6))], body: "hello")
    try check(
      "0306090c 72ed0000 04000000 24000000 05000000  e8030000 04000000 01000000  e9030000 04000000 00000000  f2030000 04000000 06000000  68656c6c6f",
      data)
    #expect(
      try EdgeMessages.Data(parsing: data)
        == EdgeMessages.Data(connID: 1, flags: [.traceUUID, .multipart], body: Array("hello".utf8)))
    try check(
      "0306090c 72ed0000 05000000 18000000 00000000  e8030000 04000000 01000000  f2030000 04000000 01000000",
      EdgeMessages.Data(connID: 1, flags: .fin, body: []).message().numbered(5))
    let closed = EdgeMessages.StateClosed(connID: 1, text: "xgress unrouted")
    try check(
      "0306090c 71ed0000 09000000 0c000000 0f000000  e8030000 04000000 01000000  78677265737320756e726f75746564",
      closed.message().numbered(9))
    #expect(try EdgeMessages.StateClosed(parsing: closed.message()) == closed)
  }

  @Test func v8DialAndDialSuccess() throws {
    let bytes = try hex(
      """
      0306090c 73ed0000 0a000000 2f000000 0a000000  e8030000 04000000 02000000  f0030000 05000000 616c696365  f4030000 04000000 00000080
      02040000 02000000 6331  62696e642d746f6b656e
      """)
    let dial = EdgeMessages.Dial(
      connID: 2, token: Array("bind-token".utf8), newConnID: 0x8000_0000, circuitID: "c1", callerID: "alice")
    #expect(dial.message().numbered(10).encoded() == bytes)
    #expect(try EdgeMessages.Dial(parsing: Message(parsing: bytes)) == dial)
    let success = EdgeMessages.DialSuccess(replyFor: 10, connID: 2, newConnID: 0x8000_0000)
    try check(
      "0306090c 74ed0000 06000000 18000000 04000000  01000000 04000000 0a000000  e8030000 04000000 02000000  00000080",
      success.message().numbered(6))
    #expect(try EdgeMessages.DialSuccess(parsing: success.message()) == success)
  }

  @Test func v9CircuitStartAndAcknowledgement() throws {
    let start = XgressMessages.Payload(
      connID: 1, circuitID: "c1", sequence: 0, flags: .circuitStart, rtt: 0x3039,
      payloadHeaders: [XgressMessages.Payload.capabilitiesKey: XgressMessages.Payload.eofCapability])
    try check(
      """
      0306090c 4c040000 0b000000 48000000 00000000  e8030000 04000000 01000000  d1070000 04000000 00000100  d0080000 02000000 6331
      d1080000 08000000 0000000000000000  d2080000 04000000 04000000  d4080000 02000000 3930
      """, start.message().numbered(11))
    #expect(try XgressMessages.Payload(parsing: start.message()) == start)
    let ack = XgressMessages.Acknowledgement(
      circuitID: "c1", flags: .originator, rtt: 0x3039, receiveBufferSize: 5, sequences: [0, 1])
    try check(
      """
      0306090c 4d040000 0c000000 2c000000 08000000  d0080000 02000000 6331  d2080000 04000000 02000000  d3080000 04000000 05000000
      d4080000 02000000 3930  00000000 00000001
      """, ack.message().numbered(12))
    #expect(try XgressMessages.Acknowledgement(parsing: ack.message()) == ack)
  }

  @Test func v10StringList() throws {
    var headers = Headers()
    headers.set(.inspectRequestedValues, list: ["circuits", "context"])
    #expect(try headers[.inspectRequestedValues] == hex("02000000 08000000 6369726375697473 07000000 636f6e74657874"))
    #expect(try headers.stringList(.inspectRequestedValues) == ["circuits", "context"])
  }
}
