// Parsers of texts that strangers send and that need nothing but their own sources. A trap, a sanitizer report or a
// broken promise fails.

@testable import JSON

let parsers: [String: Parser] = [
  "json": { bytes in
    guard let value = try? JSONValue(parsing: Array(bytes)) else { return }
    // Numbers may read otherwise once, texts never.
    guard let again = try? JSONValue(parsing: value.serialized()) else {
      fatalError("a document that was written does not parse")
    }
    precondition(again.serialized() == value.serialized(), "a document changes when it is written and read")
  },
  "json-schema": { bytes in
    // A document and a schema, one behind the other.
    let parts = bytes.split(separator: 0, maxSplits: 1)
    guard parts.count == 2, let schema = try? JSONValue(parsing: Array(parts[0])).objectValue,
      let value = try? JSONValue(parsing: Array(parts[1]))
    else {
      return
    }
    _ = (try? JSONSchema(schema))?.violations(of: value)
  },
  "pattern": { bytes in
    let text = text(bytes)
    let half = text.index(text.startIndex, offsetBy: text.count / 2)
    guard let pattern = try? Pattern(String(text[..<half])) else { return }
    var steps = 100_000
    let verdict = pattern.matches(String(text[half...]), steps: &steps)
    precondition(verdict != nil || steps <= 0, "a match gives up with steps left")
    precondition(steps > -100_000, "a match takes steps that it was not given")
  },
  "filter": { _ = try? FilterQuery(parsing: text($0)) },
  "timestamp": { bytes in
    guard let time = Timestamp(text(bytes)) else { return }
    precondition(Timestamp(time.text) == time, "a time changes when it is written and read")
  },
  "xml": { _ = try? XMLElement(parsing: Array($0)) },
  "email-pattern": { bytes in
    let text = text(bytes)
    let half = text.index(text.startIndex, offsetBy: text.count / 2)
    guard let pattern = EmailPattern(String(text[..<half])) else { return }
    _ = pattern.matches(String(text[half...].prefix(254)))
    precondition(pattern == EmailPattern(String(text[..<half]).uppercased()), "a pattern knows upper and lower case")
  },
  "response-header": { bytes in
    guard let header = ResponseHeader(text(bytes)) else { return }
    let all = header.name.utf8 + [0x3A] + header.value.utf8
    precondition(!all.contains(0x0A) && !all.contains(0x0D) && !all.contains(0), "a header ends its line")
    precondition(
      ResponseHeader(String(decoding: Array(all), as: UTF8.self)) == header,
      "a header changes when it is written and read")
  },
]
