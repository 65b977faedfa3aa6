import JSON
import Model
import Testing

@testable import SwiftletCommand

@Suite("What a filter of the command line selects")
struct FilterSelectionTests {
  /// A controller with so many entities, in the order of their names, that cuts pages as OpenZiti's and ours do.
  private final class Controller {
    private(set) var asked: [[String: String]] = []
    let count: Int

    init(_ count: Int) { self.count = count }

    func page(_ query: [(String, String)]) -> JSONValue {
      let values = Dictionary(uniqueKeysWithValues: query)
      asked.append(values)
      let (limit, offset) = (min(Int(values["limit"] ?? "") ?? 10, 500), Int(values["offset"] ?? "") ?? 0)
      let items = (0..<count).dropFirst(offset).prefix(limit).map {
        ["id": .string("i\($0)"), "name": .string("n\($0)")] as JSONValue
      }
      return ["data": .array(items), "meta": ["pagination": ["totalCount": JSONValue(count)]]]
    }
  }

  private func select(_ filter: String, of count: Int) async throws -> (
    ids: [String], controller: Controller, summary: String
  ) {
    let controller = Controller(count)
    let selection = try FilterSelection(filter, of: .identity)
    let found = try await selection.list { controller.page($0) }
    return (found.entities.map(\.id), controller, selection.summary(found))
  }

  @Test("limit and skip of the filter count over the whole, whatever controllers give at once")
  func pages() async throws {
    let three = try await select("name contains \"zz\" sort by name limit 3", of: 20)
    #expect(three.ids == ["i0", "i1", "i2"])
    #expect(three.controller.asked == [["filter": "name contains \"zz\" sort by name", "limit": "3", "offset": "0"]])
    #expect(three.summary == "filter returned results: 1-3 of 20")
    let last = try await select("true skip 98", of: 100)
    #expect(last.ids == ["i98", "i99"] && last.summary == "filter returned results: 99-100 of 100")
    #expect(try await select("true limit none", of: 1_207).ids.count == 1_207)
    #expect(try await select("true", of: 1_207).ids.count == 1_207)
    let many = try await select("true SKIP 100 LIMIT 1000", of: 1_207)
    #expect(many.ids.count == 1_000 && many.ids.first == "i100" && many.ids.last == "i1099")
    #expect(many.controller.asked.map { $0["limit"] } == ["500", "500"])
    #expect(try await select("skip 5", of: 7).ids == ["i5", "i6"])
    #expect(try await select("limit 2", of: 7).ids == ["i0", "i1"])
    #expect(try await select("true limit 0", of: 7).ids.isEmpty)
    #expect(try await select("true skip 8", of: 7).summary == "filter returned no results")
  }

  @Test("what looks like a page within a text or a sub-query stays where it is")
  func lookalikes() async throws {
    for filter in [
      "name = \"limit 3\"", "name = \"skip 3 limit 3\" sort by name",
      "isEmpty(from services where true skip 1 limit 2)",
    ] {
      #expect(try await select(filter, of: 3).controller.asked.first?["filter"] == filter)
    }
    let both = try await select("name = \"a limit 3\" sort by skip skip 1 limit 2", of: 9)
    #expect(both.ids == ["i1", "i2"] && both.controller.asked.first?["filter"] == "name = \"a limit 3\" sort by skip")
  }

  @Test(
    "an empty filter means nothing, and what is no filter is refused before anything is asked",
    arguments: ["", " \n", "name =", "true limit -2", "true limit"])
  func refused(filter: String) {
    #expect(throws: CommandFailure.self) { try FilterSelection(filter, of: .identity) }
  }

  @Test("a page that brings what another brought already, or more than was asked for, selects nothing more")
  func odd() async throws {
    let selection = try FilterSelection("true limit 3", of: .identity)
    let found = try await selection.list { _ in
      [
        "data": [["id": "a"], ["id": "a"], ["id": "b"], ["id": "c"], ["id": "d"]],
        "meta": ["pagination": ["totalCount": 5]],
      ]
    }
    #expect(found.entities.map(\.id) == ["a", "b"])
  }
}
