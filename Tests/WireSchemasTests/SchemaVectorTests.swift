import FoundationEssentials
import SwiftProtobuf
import Testing
import Wire

@testable import WireSchemas

private func hex(_ text: String) -> [UInt8] {
  let digits = text.compactMap { $0.hexDigitValue }
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// The vectors F3 and F5 of fabric-planes.md, appendix B.
@Suite struct SchemaVectorTests {
  @Test func f3Routes() throws {
    let ingress = CtrlRoute.with {
      $0.circuitID = "c1"
      $0.timeout = 10_000_000_000
      $0.forwards = [Self.forward("i1", "l1", .link), Self.forward("l1", "i1", .start)]
    }
    let ingressBytes = hex("0a026331220a0a02693112026c31180222080a026c31120269313080c8afa025")
    #expect(try ingress.serializedBytes() as [UInt8] == ingressBytes)
    #expect(try CtrlRoute(serializedBytes: ingressBytes) == ingress)

    let egress = CtrlRoute.with {
      $0.circuitID = "c1"
      $0.timeout = 10_000_000_000
      $0.egress.binding = "edge"
      $0.egress.address = "e1"
      $0.egress.destination = "t1"
      $0.egress.peerData = [HeaderID.publicKey.peerDataKey: .init([0xaa, 0xbb])]
      $0.forwards = [Self.forward("e1", "l1", .link), Self.forward("l1", "e1", .end)]
    }
    let egressBytes = hex(
      "0a0263311a170a0465646765120265311a027431220708eb071202aabb220a0a02653112026c311802220a0a026c311202653118013080c8afa025"
    )
    #expect(try egress.serializedBytes() as [UInt8] == egressBytes)
    #expect(try CtrlRoute(serializedBytes: egressBytes) == egress)
  }

  private static func forward(_ source: String, _ destination: String, _ type: CtrlDestType) -> CtrlRoute.Forward {
    .with {
      $0.srcAddress = source
      $0.dstAddress = destination
      $0.dstType = type
    }
  }

  @Test func f5ListenersAndPeerStateChanges() throws {
    func listener(_ address: String) -> CtrlListener {
      .with {
        $0.address = address
        $0.protocol = "tls"
        $0.groups = ["default"]
      }
    }
    let listeners = CtrlListeners.with { $0.listeners = [listener("tls:r1.example:6004")] }
    #expect(
      try listeners.serializedBytes() as [UInt8]
        == hex("0a230a13746c733a72312e6578616d706c653a363030341203746c73220764656661756c74"))
    let changes = CtrlPeerStateChanges.with {
      $0.changes = [
        .with {
          $0.id = "r2"
          $0.version = "v2.1.0"
          $0.listeners = [listener("tls:r2.example:6004")]
        }
      ]
    }
    #expect(
      try changes.serializedBytes() as [UInt8]
        == hex("0a310a027232120676322e312e3022230a13746c733a72322e6578616d706c653a363030341203746c73220764656661756c74")
    )
    #expect(changes.changes[0].state == .healthy)
  }

  @Test func unknownFieldsAndValuesAreKeptNotFatal() throws {
    // Field 90 of a Fault and subject 77 belong to some later version.
    let bytes = hex("084d 1201 78 d205 0161")
    let fault = try CtrlFault(serializedBytes: bytes)
    #expect(fault.subject == .UNRECOGNIZED(77))
    #expect(fault.id == "x")
    #expect(try fault.serializedBytes() as [UInt8] == bytes)
  }

  @Test func cutBodiesAreErrors() throws {
    let bytes = hex("0a026331220a0a02693112026c31180222080a026c31120269313080c8afa025")
    for count in 0..<bytes.count { _ = try? CtrlRoute(serializedBytes: Array(bytes[..<count])) }
    #expect(throws: (any Error).self) { try CtrlRoute(serializedBytes: Array(bytes[..<3])) }
  }
}
