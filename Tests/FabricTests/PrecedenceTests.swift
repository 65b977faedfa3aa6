import Fabric
import Model
import Testing
import Wire
import WireSchemas

@Suite("Precedence between its three forms")
struct PrecedenceTests {
  @Test("what an SDK writes as a number comes to the controller as what it means, and back")
  func forms() {
    let forms: [(UInt8, Precedence)] = [(0, .default), (1, .required), (2, .failed)]
    #expect(forms.map { $0.1 } == Precedence.allCases)
    for (number, meaning) in forms {
      let value = PrecedenceCode(rawValue: number).map { EdgeCtrlTerminatorPrecedence($0) }
      #expect(value == EdgeCtrlTerminatorPrecedence(meaning))
      #expect(value?.rawValue == Int(number))
      #expect(value.map { Precedence($0) } == meaning)
    }
    #expect(Precedence(EdgeCtrlTerminatorPrecedence.UNRECOGNIZED(7)) == .default)
  }
}
