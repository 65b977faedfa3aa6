import Foundation
import Testing

@testable import Wire

/// One frame of a recorded network: what its recorder saw, and the bytes on the wire.
struct CapturedFrame: Decodable {
  let contentType: Int32
  let name: String
  let seq: Int32
  let headers: [String: String]?
  let bodyLen: Int
  let body: String?
  let bodyTruncated: Bool?
  let raw: String

  static let files = [
    "01a-router-A-joins", "01b-router-B-joins-link-dial", "02-go-sdk-host-oidc", "03a-go-sdk-dial-echo-plain",
    "03f-sdk-flow-control-host-bind",
    "04a-dial-no-terminators", "06a-c-sdk-host", "06b-c-sdk-dial", "06c-c-sdk-stop", "07a-python-0.6.0-host",
    "07b-python-0.6.0-dial",
    "10f-legacy-python-0.6.0-host-and-dial", "11a-posture-check-os-dial",
  ]

  static func load(_ file: String) throws -> [CapturedFrame] {
    let url = Bundle.module.bundleURL.appending(path: "Resources/captures/\(file).jsonl")
    let text = try String(contentsOf: url, encoding: .utf8)
    return try text.split(separator: "\n").map {
      try JSONDecoder().decode(CapturedFrame.self, from: Foundation.Data($0.utf8))
    }
  }
}

@Suite struct CaptureTests {
  @Test(arguments: CapturedFrame.files) func everyFrameParsesAsRecordedAndEncodesAgain(_ file: String) throws {
    let frames = try CapturedFrame.load(file)
    #expect(!frames.isEmpty)
    for frame in frames {
      let bytes = try hex(frame.raw)
      let message = try Message(parsing: bytes)
      #expect(message.contentType.rawValue == frame.contentType)
      #expect(message.sequence == frame.seq)
      #expect(message.body.count == frame.bodyLen)
      if let body = frame.body, frame.bodyTruncated != true { #expect(try message.body == hex(body)) }
      let recorded = frame.headers ?? [:]
      #expect(message.headers.all.count == recorded.count)
      for (id, value) in recorded {
        #expect(try message.headers[HeaderID(rawValue: #require(Int32(id)))] == hex(value))
      }
      // Peers write headers in random order, but the parsed order is the order on the wire.
      #expect(message.encoded() == bytes)
      #expect(try Message(parsing: message.encoded()) == message)
      guard message.contentType == .data else { continue }
      let length = FrameHeader.size + message.headers.encodedLength
      let fields = try bytes.withUnsafeBytes {
        try EdgeFields.scan(UnsafeRawBufferPointer(rebasing: $0[FrameHeader.size..<length]))
      }
      #expect(fields.connID == message.headers.uint32(.connID))
      #expect(fields.flags.rawValue == message.headers.uint32(.flags) ?? 0)
    }
  }

  /// Headers that peers send and the typed messages leave out on purpose: 1001 is never read, 1009 never forwarded,
  /// 1101 leaks from 2.1 routers, 1008 of old C SDKs in a Bind says nothing, 5 and 6 are heartbeats of the channel,
  /// 2000 and up the cluster's.
  private static let unread: Set<HeaderID> = [
    .seq, .cryptoMethod, ControlHeader.routeResultAttempt, .callerID, .heartbeat, .heartbeatResponse, .reflected,
    .supportsInspect,
    ControlHeader.clusterPeerAddress, ControlHeader.clusterAPIAddresses, ControlHeader.clusterID,
    .serviceIdentifierType,
  ]

  @Test(arguments: CapturedFrame.files) func typedMessagesKeepWhatThePeersSaid(_ file: String) throws {
    for frame in try CapturedFrame.load(file) {
      let message = try Message(parsing: hex(frame.raw))
      guard let type = Self.typed(message) else { continue }
      let typed = try type.init(parsing: message)
      let again = typed.message()
      #expect(again.contentType == message.contentType)
      #expect(again.body == message.body, "\(frame.name)")
      for (id, value) in message.headers.all where !Self.unread.contains(id) {
        // Absent and false are the same; widths of old SDKs become the usual ones.
        if value == [0], again.headers[id] == nil { continue }
        if id == .cost || id == .precedence {
          #expect(
            again.headers.uint16(id) == message.headers.uint16(id)
              || again.headers.uint8(id) == message.headers.uint8(id))
          continue
        }
        if id == .structuredError { continue }
        #expect(again.headers[id] == value, "\(frame.name), header \(id.rawValue)")
      }
    }
  }

  private static func typed(_ message: Message) -> (any TypedMessage.Type)? {
    let types: [any TypedMessage.Type] = [
      EdgeMessages.Connect.self, EdgeMessages.ConnectV2.self, EdgeMessages.StateConnected.self,
      EdgeMessages.StateClosed.self, EdgeMessages.Data.self,
      EdgeMessages.Bind.self, EdgeMessages.Unbind.self, EdgeMessages.Dial.self, EdgeMessages.DialSuccess.self,
      EdgeMessages.DialFailed.self,
      EdgeMessages.BindSuccess.self, EdgeMessages.ConnInspectRequest.self, EdgeMessages.ConnInspectResponse.self,
      ControlMessages.CreateCircuitV2.self,
      ControlMessages.CreateCircuitV3.self, ControlMessages.RouteResult.self, ControlMessages.Failure.self,
      XgressMessages.Payload.self,
      XgressMessages.Acknowledgement.self, XgressMessages.Close.self,
    ]
    if message.contentType == .hello {
      if message.headers.contains(.sessionToken) {
        return message.headers.contains(.helloVersion) ? ControlMessages.RouterHello.self : EdgeMessages.Hello.self
      }
      return message.headers.contains(LinkHeader.linkID) ? LinkHello.self : ControlMessages.RouterHello.self
    }
    return types.first { $0.contentType == message.contentType }
  }
}
