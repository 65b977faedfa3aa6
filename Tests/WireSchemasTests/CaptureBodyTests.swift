import Foundation
import SwiftProtobuf
import Testing
import Wire

@testable import WireSchemas

/// Bodies of a recorded network: the bytes, and what the recorder's own schema read from them.
@Suite struct CaptureBodyTests {
  private static let schemas: [ContentType: any SwiftProtobuf.Message.Type] = [
    .fault: CtrlFault.self, .route: CtrlRoute.self, .unroute: CtrlUnroute.self, .metrics: MetricsMetricsMessage.self,
    .inspect: CtrlInspectRequest.self,
    .routerLinks: CtrlRouterLinks.self, .verifyRouter: CtrlVerifyRouter.self,
    .updateCtrlAddresses: CtrlUpdateCtrlAddresses.self,
    .removeTerminators: CtrlRemoveTerminatorsRequest.self,
    .validateTerminatorsV2: CtrlValidateTerminatorsV2Request.self,
    .validateTerminatorsV2Response: CtrlValidateTerminatorsV2Response.self,
    .peerStateChanges: CtrlPeerStateChanges.self,
    .routerInterfaces: CtrlRouterInterfacesUpdate.self, .linkState: CtrlLinkStateUpdate.self,
    .postureResponse: EdgeClientPostureResponses.self,
    .serverHello: EdgeCtrlServerHello.self, .clientHello: EdgeCtrlClientHello.self,
    .sessionRemoved: EdgeCtrlSessionRemoved.self,
    .apiSessionAdded: EdgeCtrlApiSessionAdded.self, .apiSessionUpdated: EdgeCtrlApiSessionUpdated.self,
    .apiSessionRemoved: EdgeCtrlApiSessionRemoved.self, .apiSessionHeartbeat: EdgeCtrlApiSessionHeartbeat.self,
    .createTerminatorV2: EdgeCtrlCreateTerminatorV2Request.self,
    .createTerminatorV2Response: EdgeCtrlCreateTerminatorV2Response.self,
    .connectEvents: EdgeCtrlConnectEvents.self, .dataState: EdgeCtrlDataState.self, .changeSet: EdgeCtrlChangeSet.self,
    .subscribeToDataModel: EdgeCtrlSubscribeToDataModelRequest.self,
  ]

  private struct Line: Decodable {
    let file: String
    let line: Int
    let contentType: Int32
    let body: String?
    let bodyLen: Int?
  }

  /// The line and, apart from it, the text of its last member `decoded`.
  private static func load(_ file: String) throws -> [(line: Line, decoded: String)] {
    let url = Bundle.module.bundleURL.appending(path: "Resources/captures/\(file).jsonl")
    return try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map { text in
      let line = try JSONDecoder().decode(Line.self, from: Data(text.utf8))
      let start = try #require(text.firstRange(of: ",\"decoded\":")).upperBound
      return (line, String(text[start...].dropLast()))
    }
  }

  private static func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap { $0.hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  @Test func everyRecordedBodyReadsAsItsRecorderReadIt() throws {
    let lines = try Self.load("bodies")
    #expect(lines.count >= 60)
    for (line, decoded) in lines {
      let schema = try #require(Self.schemas[ContentType(rawValue: line.contentType)])
      try check(schema, line, decoded)
    }
  }

  private func check<Schema: SwiftProtobuf.Message>(_ schema: Schema.Type, _ line: Line, _ decoded: String) throws {
    let bytes = Self.bytes(try #require(line.body))
    let value = try Schema(serializedBytes: bytes)
    let expected = try Schema(jsonString: decoded)
    #expect(value.isEqualTo(message: expected), "\(line.file):\(line.line)")
    #expect(value.unknownFields.data.isEmpty, "\(line.file):\(line.line)")
    // Maps have no order, so bytes may differ; their number and meaning may not.
    let again: [UInt8] = try value.serializedBytes()
    #expect(again.count == bytes.count, "\(line.file):\(line.line)")
    #expect(try Schema(serializedBytes: again).isEqualTo(message: value))
  }

  @Test func aFullDataModelWritesAsManyBytesAsItsSenderDid() throws {
    for (line, decoded) in try Self.load("states") {
      let state = try EdgeCtrlDataState(jsonString: decoded)
      let bytes: [UInt8] = try state.serializedBytes()
      #expect(bytes.count == line.bodyLen)
      #expect(!state.timelineID.isEmpty)
      #expect(
        state.events.contains { if case .postureCheck(let check) = $0.entity { check.subtype != nil } else { false } })
      #expect(
        state.events.contains {
          if case .publicKey(let key) = $0.entity {
            Set(key.usages) == [.clientX509CertValidation, .jwtvalidation]
          } else {
            false
          }
        })
      #expect(try EdgeCtrlDataState(serializedBytes: bytes) == state)
    }
  }
}
