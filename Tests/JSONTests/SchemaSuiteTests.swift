import Foundation
import JSON
import Testing

/// The public test suite of JSON Schema draft-07, which the source package of Python's `jsonschema` ships.
/// `./run conformance` fetches it and names its directory in `SWIFTLET_SCHEMA_SUITE`.
@Suite("The public suite of JSON Schema draft-07", .timeLimit(.minutes(5)))
struct SchemaSuiteTests {
  private static let directory = ProcessInfo.processInfo.environment["SWIFTLET_SCHEMA_SUITE"]

  /// Where we differ, and why: by file, or by file and group. Schemas come from administrators: nothing is fetched from
  /// anywhere, and one document is the whole schema. What would need more is refused when the schema is made.
  private static let differences: [String: String] = {
    let fetched = "the reference leads out of the document"
    let identified = "$id gives no part of a document a name of its own: references are JSON pointers from its root"
    return [
      "definitions.json": fetched,
      "refRemote.json": fetched,
      "ref.json: remote ref, containing refs itself": fetched,
      "id.json: id inside an enum is not a real identifier": identified,
      "unknownKeyword.json": identified,
      "ref.json: $ref prevents a sibling $id from changing the base uri": identified,
      "ref.json: Recursive references between schemas": identified,
      "ref.json: Location-independent identifier": identified,
      "ref.json: Location-independent identifier with base URI change in subschema": identified,
      "ref.json: refs with relative uris and defs": identified,
      "ref.json: relative refs with absolute uris and defs": identified,
      "ref.json: $id must be resolved against nearest parent, not just immediate parent": identified,
      "ref.json: simple URN base URI with $ref via the URN": identified,
      "ref.json: URN base URI with URN and JSON pointer ref": identified,
      "ref.json: URN base URI with URN and anchor ref": identified,
    ]
  }()

  /// A schema of the suite with its documents.
  private struct Group {
    var name: String
    var file: String
    var schema: JSONValue
    var tests: [JSONValue]
    var difference: String? { SchemaSuiteTests.differences[name] ?? SchemaSuiteTests.differences[file] }
  }

  @Test(
    "every verdict is the suite's, but for the named differences",
    .enabled(if: Self.directory != nil, "the suite is not here; ./run conformance fetches it"))
  func agrees() throws {
    let groups = try Self.groups(in: try #require(Self.directory))
    var (agreed, differed) = (0, 0)
    var unexplained: [String] = []
    var unused = Set(Self.differences.keys)
    for group in groups {
      let wrong = Self.wrongVerdicts(group)
      if group.difference == nil {
        unexplained += wrong
      } else if !wrong.isEmpty {
        unused.subtract([group.name, group.file])
      }
      differed += group.difference == nil ? 0 : wrong.count
      agreed += group.tests.count - wrong.count
    }
    #expect(unexplained.isEmpty, "\(unexplained.joined(separator: "\n"))")
    #expect(unused.isEmpty, "these do not differ any more: \(unused.sorted())")
    // A suite of nothing would agree as well.
    #expect(groups.count > 200 && agreed > 600)
    print("JSON Schema draft-07: \(agreed) verdicts agree, \(differed) differ for the reasons given")
  }

  private static func groups(in directory: String) throws -> [Group] {
    let files = try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".json") }.sorted()
    return try files.flatMap { file -> [Group] in
      let bytes = try Data(contentsOf: URL(fileURLWithPath: directory + "/" + file))
      let groups = try #require(try JSONValue(parsing: Array(bytes)).arrayValue, "\(file)")
      return try groups.map { group -> Group in
        let name = try #require(group["description"]?.stringValue)
        let schema = try #require(group["schema"])
        let tests = try #require(group["tests"]?.arrayValue)
        return Group(name: "\(file): \(name)", file: file, schema: schema, tests: tests)
      }
    }
  }

  /// The tests of a group that do not come out as the suite says.
  private static func wrongVerdicts(_ group: Group) -> [String] {
    // A schema that is a boolean has no object to compile.
    let schema = Result { try JSONSchema(group.schema.objectValue ?? ["allOf": [group.schema]]) }
    return group.tests.compactMap { test -> String? in
      let verdict: String
      switch schema {
      case .failure(let error): verdict = "the schema is refused: \(error)"
      case .success(let schema):
        let violations = schema.violations(of: test["data"] ?? .null)
        guard test["valid"]?.boolValue != violations.isEmpty else { return nil }
        verdict = violations.isEmpty ? "accepted" : "refused: \(violations)"
      }
      return "\(group.name): \(test["description"]?.stringValue ?? ""): \(verdict)"
    }
  }
}
