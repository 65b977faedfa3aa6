import NIOConcurrencyHelpers
import Testing

@testable import REST

@Suite("Room for bodies")
struct BodyBudgetTests {
  @Test(
    "where the total is reached, an unfinished body of whoever has most gives way to one of somebody who has fewer; a whole one stays"
  )
  func givesWay() {
    let budget = BodyBudget(total: 100, perKey: 50)
    let gone = NIOLockedValueBox<[String]>([])
    let take = { (bytes: Int, key: String, name: String) in
      budget.take(bytes, for: key) { gone.withLockedValue { $0.append(name) } }
    }
    let whole = take(20, "greedy", "whole")
    whole?.finish()
    var greedy = [take(15, "greedy", "a"), take(15, "greedy", "b")]
    #expect(take(1, "greedy", "more than its share") == nil)
    let other = take(50, "other", "other")
    #expect(budget.used == 100 && gone.withLockedValue { $0.isEmpty })
    let newcomer = take(10, "newcomer", "newcomer")
    #expect(newcomer != nil && gone.withLockedValue { $0 } == ["a"])
    #expect(budget.used == 95)
    // What gave way cannot grow again, and gives nothing back twice.
    #expect(greedy[0]?.grow(to: 16) == false)
    greedy = []
    #expect(budget.used == 80)
    #expect(newcomer?.grow(to: 30) == true && newcomer?.grow(to: 31) == false)
    withExtendedLifetime((whole, other, newcomer)) {}
  }

  @Test("many sources with one body each do not keep a newcomer out")
  func manySources() {
    let budget = BodyBudget(total: 100, perKey: 50)
    let gone = NIOLockedValueBox(0)
    let held = (0..<10).map { number in budget.take(10, for: "s\(number)") { gone.withLockedValue { $0 += 1 } } }
    let newcomer = budget.take(10, for: "newcomer") {}
    #expect(newcomer != nil && gone.withLockedValue { $0 } == 1 && budget.used == 100)
    withExtendedLifetime((held, newcomer)) {}
  }
}
