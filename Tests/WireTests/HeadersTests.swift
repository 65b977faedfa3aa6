import Testing

@testable import Wire

@Suite struct HeadersTests {
  @Test func aRecordThatAppearsTwiceIsRefusedWhateverItIs() throws {
    for id in ["e8030000", "01000000", "ffff0000"] {
      let bytes = try hex("\(id) 04000000 01000000  e9030000 04000000 00000000  \(id) 04000000 01000000")
      let duplicate = HeaderID(rawValue: bytes.withUnsafeBytes { Int32(bitPattern: u32($0, 0)) })
      #expect(throws: WireError.duplicateHeader(duplicate)) { try bytes.withUnsafeBytes { try Headers(parsing: $0) } }
    }
  }

  @Test func aWrongWidthIsAbsentForIntegersOf4And8Bytes() {
    var headers = Headers()
    headers.set(.connID, [1, 0])
    #expect(headers.uint32(.connID) == nil && headers.uint64(.connID) == nil && headers.int32(.connID) == nil)
    #expect(headers.uint16(.connID) == 1)
  }

  @Test func costAndPrecedenceOfOldCSDKsHaveFourBytes() throws {
    let message = Message(
      .bind, 1, [(.connID, le(0)), (.cost, [7, 1, 0, 0]), (.precedence, [1, 0, 0, 0])], body: "t")
    let bind = try EdgeMessages.Bind(parsing: message)
    #expect(bind.connID == 0)
    #expect(bind.cost == 263)
    #expect(bind.precedence == .required)
    #expect(!bind.wantsRouterProvidedConnIDs)
    #expect(bind.message().headers[.cost]?.count == 2)
    #expect(bind.message().headers[.precedence]?.count == 1)
  }

  @Test func aPrecedenceOfNobodyIsRefused() {
    let message = Message(.bind, 1, [(.connID, le(1)), (.precedence, [9])])
    #expect(throws: WireError.badHeader(.precedence, reason: "9 is not 0, 1 or 2")) {
      try EdgeMessages.Bind(parsing: message)
    }
  }

  @Test func listenerIDsAndMarkersAreBytes() throws {
    let binary: [UInt8] = [0, 0xff, 0xfe, 10] + Array(repeating: 0x80, count: 28)
    let bind = EdgeMessages.Bind(connID: 1, token: [0xff, 0x00], listenerID: binary)
    #expect(try EdgeMessages.Bind(parsing: bind.message()) == bind)
    let marker = Array("PR-2dD1K\0".utf8)
    let connect = EdgeMessages.Connect(
      connID: 0, token: "t", options: EdgeMessages.DialOptions(connectionMarker: marker))
    #expect(try EdgeMessages.Connect(parsing: connect.message()).options.connectionMarker == marker)
  }

  @Test func boolsReadOneExactly() {
    var headers = Headers()
    #expect(headers.bool(.resultSuccess) == nil)
    headers.set(.resultSuccess, [2])
    #expect(headers.bool(.resultSuccess) == false)
    headers.set(.resultSuccess, [])
    #expect(headers.bool(.resultSuccess) == nil)
    headers.set(.resultSuccess, true)
    #expect(headers[.resultSuccess] == [1])
  }

  @Test func listsAndMapsKeepTheirLimits() throws {
    var headers = Headers()
    let list = (0..<128).map { "item \($0)" }
    headers.set(1, list: list)
    #expect(try headers.stringList(1) == list)
    headers.set(1, list: list + ["one more"])
    #expect(throws: WireError.self) { try headers.stringList(1) }
    headers.set(1, list: [String(repeating: "x", count: 8192)])
    #expect(try headers.stringList(1)?.first?.utf8.count == 8192)
    headers.set(1, list: [String(repeating: "x", count: 8193)])
    #expect(throws: WireError.self) { try headers.stringList(1) }
    headers.set(1, list: [])
    #expect(headers[1] == [])
    #expect(try headers.stringList(1) == [])
    headers.set(2, map: [5: [1], 0xffff_ffff: []])
    #expect(try headers.dataMap(2) == [5: [1], 0xffff_ffff: []])
    headers.set(3, map: ["serviceId": "s1", "": "empty"])
    #expect(try headers.stringMap(3) == ["serviceId": "s1", "": "empty"])
    // A count that promises more than there is allocates nothing.
    headers.set(4, [128, 0, 0, 0])
    #expect(throws: WireError.badHeader(4, reason: "a list that ends early")) { try headers.dataMap(4) }
    headers.set(4, [0xff, 0xff, 0xff, 0xff, 0, 0])
    #expect(throws: WireError.self) { try headers.stringMap(4) }
    headers.set(4, [0, 0, 0, 0, 1])
    #expect(throws: WireError.badHeader(4, reason: "bytes behind the last entry")) { try headers.stringList(4) }
  }

  @Test func equalityHasNoOrder() {
    var left = Headers()
    left.set(1, UInt8(1))
    left.set(2, UInt8(2))
    var right = Headers()
    right.set(2, UInt8(2))
    right.set(1, UInt8(1))
    #expect(left == right)
    right.set(3, UInt8(3))
    #expect(left != right)
  }

  @Test func capabilityMasks() throws {
    #expect(CapabilityMask([1, 2, 3, 4, 5, 6]).bytes == [0x7e])
    #expect(CapabilityMask([1, 2, 3, 4, 6]).bytes == [0x5e])
    #expect(CapabilityMask([5, 6]).bytes == [0x60])
    #expect(CapabilityMask([1, 2, 4, 5, 6, -2]).bytes == [0x40, 0, 0, 0, 0, 0, 0, 0x76])
    #expect(CapabilityMask().bytes == [])
    let mask = CapabilityMask(bytes: [0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x76])
    #expect(mask.contains(62) && mask.contains(-2) && mask.contains(1) && !mask.contains(0) && !mask.contains(3))
    #expect(!mask.contains(64) && !mask.contains(-65) && !mask.contains(.max) && !mask.contains(.min))
  }

  @Test func versionsHaveFiveFields() {
    #expect(VersionInfo(text: "v1|a|b|linux|amd64")?.text == "v1|a|b|linux|amd64")
    #expect(VersionInfo(text: "||||") != nil)
    #expect(VersionInfo(text: "v1|a|b|linux") == nil)
    #expect(VersionInfo(text: "v1|a|b|linux|amd64|x") == nil)
    #expect(VersionInfo(text: "") == nil)
  }

  @Test func aReplyForOfMinusOneIsNoReplyOutsideTheHello() {
    var message = Message(contentType: .stateClosed)
    message.replyFor = -1
    #expect(message.replyFor == nil)
    message.contentType = .result
    #expect(message.replyFor == -1)
    message.replyFor = 0
    #expect(message.replyFor == 0)
  }
}
