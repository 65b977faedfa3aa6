import JSON
import Testing

@Suite("JSON documents")
struct DocumentTests {
  @Test func readsEveryKindOfValue() throws {
    let value = try JSONValue(
      parsing: #" {"a":[1,-2.5,1e3,true,false,null,"x"],"b":{},"c":9223372036854775807,"d":9223372036854775808} "#)
    #expect(value["a"] == [1, -2.5, 1000.0, true, false, nil, "x"])
    #expect(value["b"] == [:])
    #expect(value["c"] == .int(.max))
    #expect(value["d"] == .double(9_223_372_036_854_775_808))
  }

  @Test func lastDuplicateWins() throws {
    #expect(try JSONValue(parsing: #"{"a":1,"a":2}"#) == ["a": 2])
  }

  @Test("two spellings of a name that Unicode calls equivalent are one name")
  func equivalentNames() throws {
    let value = try JSONValue(parsing: #"{"\u00e9":1,"e\u0301":2}"#)
    #expect(value.objectValue?.count == 1)
    #expect(value["é"] == 2)
  }

  @Test func readsEscapesAndSurrogates() throws {
    #expect(try JSONValue(parsing: #""\u0041\n\"\\\/\u00e9\ud83d\ude00""#) == "A\n\"\\/é😀")
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "01", "1.", "-", "1e", "tru", "\"\\x\"", "\"\\ud800\"",
    "\"\\ud800\\u0041\"", "\"\\udc00\"",
    "\"\u{01}\"", "1 2", "[1 2]", "\"abc", "nul", "+1", "\"\\u12", "1e999", "{\"a\":1,}",
  ])
  func refuses(_ text: String) {
    #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
  }

  @Test func refusesBrokenUTF8() {
    #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xC3, 0x22]) }
    #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xED, 0xA0, 0x80, 0x22]) }
  }

  @Test func limitsDepthAndSize() {
    let deep = String(repeating: "[", count: 65) + String(repeating: "]", count: 65)
    #expect(throws: JSONError.tooDeep(limit: 64, offset: 64)) { try JSONValue(parsing: deep) }
    #expect(throws: JSONError.tooDeep(limit: 64, offset: 64)) {
      try JSONValue(parsing: String(repeating: "[", count: 100_000))
    }
    #expect(throws: JSONError.tooLong(bytes: 5, limit: 4)) {
      try JSONValue(parsing: "12345", limits: JSONLimits(bytes: 4, depth: 1))
    }
  }

  @Test func neverTrapsOnDamagedDocuments() throws {
    var random = Seeded(7)
    let seed = Array(#"{"a":[1,-2.5e3,true,null,"\u00e9\ud83d\ude00\n"],"b":{"c":"é😀"}}"#.utf8)
    for _ in 0..<20_000 {
      var bytes = seed
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
      if let value = try? JSONValue(parsing: bytes) { #expect(try JSONValue(parsing: value.serialized()) == value) }
    }
  }

  @Test func writesWhatItReads() throws {
    let value: JSONValue = ["z": [1, 2.5, nil, true], "a": "\"\\\n\u{01}é😀", "n": [:]]
    #expect(try JSONValue(parsing: value.serialized()) == value)
    #expect(value.text == #"{"a":"\"\\\n\u0001é😀","n":{},"z":[1,2.5,null,true]}"#)
  }
}

/// A reproducible random source.
private struct Seeded: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
