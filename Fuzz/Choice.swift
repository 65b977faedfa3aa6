import Foundation

/// libFuzzer's entry: hands every input to the parser that the environment names in FUZZ_PARSER, so that each has a
/// corpus and a count of its own. `./run fuzz` compiles this file with one of the files that hold a table `parsers`.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  chosen(UnsafeRawBufferPointer(start: start, count: count))
  return 0
}

typealias Parser = @Sendable (UnsafeRawBufferPointer) -> Void

private let chosen: Parser = {
  guard let parser = parsers[ProcessInfo.processInfo.environment["FUZZ_PARSER"] ?? ""] else {
    fatalError("set FUZZ_PARSER to one of \(parsers.keys.sorted().joined(separator: ", "))")
  }
  return parser
}()

func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
