// A libFuzzer entry for the parsers of texts that strangers send: JSON, filters, the XML of WebDAV, e-mail patterns, and headers of answers. `./run fuzz` compiles it together with their sources,
// not as a target of the package. A trap, a sanitizer report or a broken promise fails.

/// Reads one input in every way a peer could make us read it, and checks what the parsers promise.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzText(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  if let value = try? JSONValue(parsing: bytes) {
    // Numbers may read otherwise once, texts never.
    guard let again = try? JSONValue(parsing: value.serialized()) else { fatalError("a document that was written does not parse") }
    precondition(again.serialized() == value.serialized(), "a document changes when it is written and read")
  }
  _ = try? XMLElement(parsing: bytes)
  let text = String(decoding: bytes, as: UTF8.self)
  _ = try? FilterQuery(parsing: text)
  let half = text.index(text.startIndex, offsetBy: text.count / 2)
  if let pattern = EmailPattern(String(text[..<half])) {
    _ = pattern.matches(String(text[half...].prefix(254)))
    precondition(pattern == EmailPattern(String(text[..<half]).uppercased()), "a pattern knows upper and lower case")
  }
  if let header = ResponseHeader(text) {
    let all = header.name.utf8 + [0x3A] + header.value.utf8
    precondition(!all.contains(0x0A) && !all.contains(0x0D) && !all.contains(0), "a header ends its line")
    precondition(ResponseHeader(String(decoding: Array(all), as: UTF8.self)) == header, "a header changes when it is written and read")
  }
  return 0
}
