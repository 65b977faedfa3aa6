import Model
import Testing
import WireSchemas

@testable import Controller

@Suite("What an identity says of hosting while it hosts", .timeLimit(.minutes(5)))
struct HostStandingTests {
  @Test("hosts that bind while their identity's cost changes have the cost that stands in the end")
  func changing() async throws {
    let network = try await AttackedNetwork.start()
    let (controller, changes) = (network.controller, 30)
    let token = try await controller.adminToken()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for cost in 1...changes {
          let answer = try await controller.send(
            "PATCH", "/edge/management/v1/identities/\(network.identity)", ["defaultHostingCost": JSONValue(cost)], token: token)
          #expect(answer.status == 200, "\(answer.text)")
        }
      }
      for host in 0..<4 {
        group.addTask {
          for number in 0..<50 { #expect(try await network.bind("h\(host)-\(number)").result == .success) }
        }
      }
      try await group.waitForAll()
    }
    let costs = controller.core.fleet.terminators.map(\.cost)
    #expect(costs.count == 201 && costs.allSatisfy { $0 == changes })
    await controller.stop()
  }
}
