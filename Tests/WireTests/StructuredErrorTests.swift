import Testing

@testable import Wire

@Suite struct StructuredErrorTests {
  @Test func writesAndReadsItself() {
    let error = StructuredError(
      message: "no \"access\"\n\u{1} \\ é 🔒", code: .accessDenied, retryHint: .startOver,
      failingPostureCheckIDs: ["a", "b\"c"])
    #expect(StructuredError(jsonText: error.jsonText) == error)
    #expect(!StructuredError(message: "m", code: .internal).jsonText.contains("failingPostureCheckIds"))
  }

  @Test func readsWhatPeersWrite() {
    let text =
      #" { "message" : "caf\u00e9 \ud83d\udd12 \ud83d!" , "extra":{"a":[1,-2.5e3,true,null,{"b":"}"}]}, "code":15,"retryHint":0,"failingPostureCheckIds":null} "#
    let error = StructuredError(jsonText: text)
    #expect(error?.message == "café 🔒 \u{fffd}!")
    #expect(error?.code == .postureCheckFailed)
    #expect(StructuredError(jsonText: "{}") == StructuredError(message: "", code: .ok))
    #expect(StructuredError(jsonText: #"{"code":4000000000,"retryHint":77}"#)?.code == .internal)
  }

  @Test(arguments: [
    "", "{", "}", "[]", "null", #"{"message"}"#, #"{"message":1}"#, #"{"code":"1"}"#, #"{"code":-1}"#,
    #"{"code":4294967296}"#, #"{"message":"a"#,
    #"{"message":"a",}"#, #"{"message":"\u12"}"#, #"{"message":"\x"}"#, #"{"message":"a"} x"#, #"{"a":}"#,
    #"{"failingPostureCheckIds":[1]}"#,
    "{\"message\":\"line\nbreak\"}", #"{"message":"\u+123"}"#,
  ]) func refusesOtherText(_ text: String) {
    #expect(StructuredError(jsonText: text) == nil)
  }

  @Test func deepNestingEndsWithAnAnswer() {
    let deep = #"{"x":"# + String(repeating: "[", count: 100_000)
    #expect(StructuredError(jsonText: deep) == nil)
  }

  @Test func everyCutOfATextIsAnsweredWithoutATrap() {
    let bytes = Array(
      #"{"message":"a\u00e9\ud83d\udd12","code":1,"retryHint":2,"failingPostureCheckIds":["x","y"],"z":[{"q":1.5}]}"#
        .utf8)
    for count in 0..<bytes.count {
      #expect(StructuredError(jsonText: String(decoding: bytes[..<count], as: UTF8.self)) == nil)
    }
    var random = SeededGenerator(seed: 7)
    for _ in 0..<20_000 {
      var mutated = bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        mutated[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0x20...0x7e, using: &random)
      }
      _ = StructuredError(jsonText: String(decoding: mutated, as: UTF8.self))
    }
  }

  @Test func codesCarryTheirUsualHints() {
    #expect(EdgeErrorCode.invalidSession.usualRetryHint == .startOver)
    #expect(EdgeErrorCode.invalidService.usualRetryHint == .notRetriable)
    #expect(EdgeErrorCode.accessDenied.usualRetryHint == .default)
  }

  @Test func refusalsKeepTheirCodeInBothForms() throws {
    let request = Message(.connect, 4, [(.connID, le(0))])
    let message = EdgeMessages.StateClosed.refusal(
      of: request, text: EdgeMessages.StateClosed.invalidSessionText, code: .invalidSession
    ).message()
    #expect(message.text == "Invalid Session")
    #expect(message.replyFor == 4)
    #expect(message.headers.uint32(.connID) == 0)
    #expect(message.headers.uint32(.errorCode) == 3)
    #expect(try EdgeMessages.StateClosed(parsing: message).error?.code == .invalidSession)
    let failure = ControlMessages.Failure(
      replyFor: 9, text: "service s has no terminators", code: .internal, circuitID: "c1")
    #expect(try ControlMessages.Failure(parsing: failure.message()) == failure)
  }
}
