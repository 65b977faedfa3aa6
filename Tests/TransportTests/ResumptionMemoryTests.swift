import Foundation
import PKI
import Testing

@testable import Transport

@Suite("Helpers of resumed sessions")
struct ResumptionMemoryTests {
  @Test("what strangers make it remember is bounded in bytes, and drives out their own, not what another source left")
  func bounded() throws {
    let helper = try CertificateAuthority.createRoot(name: "helper", trustDomain: "test", algorithm: .p256, now: Date())
      .chain.leaf
    let memory = ResumptionMemory()
    memory.remember("honest", [helper], source: "192.0.2.1")
    let bytes = helper.derBytes.count
    for number in 0..<(ResumptionMemory.limit / bytes * 2) {
      memory.remember("made up \(number)", [helper], source: "192.0.2.66")
    }
    #expect(memory.bytes <= ResumptionMemory.limit)
    #expect(memory.intermediates(of: "honest") == [helper])
    #expect(memory.intermediates(of: "made up 0").isEmpty)
    memory.remember("large", Array(repeating: helper, count: ResumptionMemory.perLeaf / bytes + 1), source: "192.0.2.1")
    #expect(memory.intermediates(of: "large").isEmpty)
    #expect(memory.intermediates(of: "honest") == [helper])
  }
}
