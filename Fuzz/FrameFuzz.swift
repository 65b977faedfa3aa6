// Parsers of `Wire`, seeded with Tests/WireTests/Resources/corpus, one frame a file. A trap or a sanitizer report
// fails.

let parsers: [String: Parser] = [
  "channel": { bytes in
    guard let message = try? Message.parse(bytes, limits: .stranger) else { return }
    guard let again = try? Message(parsing: message.encoded()) else { fatalError("an encoded message does not parse") }
    precondition(again == message, "a message changes when it is encoded and parsed")
  },
  "edge": { bytes in
    checkScan(bytes)
    readTyped(bytes, edgeMessages)
  },
  "control": { readTyped($0, controlMessages) },
  "xgress": { bytes in
    _ = try? XgressFields.scan(bytes)
    readTyped(bytes, xgressMessages)
  },
  "structured-error": { _ = StructuredError(jsonText: text($0)) },
]

/// Reads a frame as each of the types, and checks that what parses also survives a second passage.
private func readTyped(_ bytes: UnsafeRawBufferPointer, _ types: [any TypedMessage.Type]) {
  guard let message = try? Message.parse(bytes, limits: .stranger) else { return }
  for type in types {
    var typed = message
    typed.contentType = type.contentType
    passTwice(type, typed)
  }
}

/// What the scan lets pass must say the same thing to every reader: no record of a message twice, and only records that
/// a Data message has.
private func checkScan(_ bytes: UnsafeRawBufferPointer) {
  guard let fields = try? EdgeFields.scan(bytes), fields.isPlain else { return }
  guard let headers = try? Headers(parsing: bytes) else {
    fatalError("a section that passes does not parse, or has a record twice")
  }
  precondition(
    headers.uint32(.connID) == fields.connID && EdgeFlags(rawValue: headers.uint32(.flags) ?? 0) == fields.flags,
    "the scan reads other values")
  precondition(
    headers.all.allSatisfy { [.reflected, .connID, .seq, .flags].contains($0.id) },
    "a record passes that no Data message has")
}

private func passTwice<Value: TypedMessage>(_ type: Value.Type, _ message: Message) {
  guard let value = try? Value(parsing: message) else { return }
  guard let again = try? Value(parsing: value.message()) else {
    fatalError("\(Value.self) does not read what it wrote")
  }
  precondition(again == value, "\(Value.self) changes when it is written and read")
}

private let edgeMessages: [any TypedMessage.Type] = [
  EdgeMessages.Hello.self, EdgeMessages.HelloResult.self, EdgeMessages.Connect.self, EdgeMessages.ConnectV2.self,
  EdgeMessages.StateConnected.self, EdgeMessages.StateClosed.self, EdgeMessages.Data.self, EdgeMessages.Bind.self,
  EdgeMessages.Unbind.self, EdgeMessages.UpdateBind.self, EdgeMessages.HealthEvent.self, EdgeMessages.Dial.self,
  EdgeMessages.DialSuccess.self, EdgeMessages.DialFailed.self, EdgeMessages.BindSuccess.self,
  EdgeMessages.ConnInspectRequest.self, EdgeMessages.ConnInspectResponse.self, EdgeMessages.UpdateToken.self,
  EdgeMessages.UpdateTokenSuccess.self, EdgeMessages.UpdateTokenFailure.self, EdgeMessages.InspectRequest.self,
  EdgeMessages.InspectResponse.self, EdgeMessages.TraceRoute.self, EdgeMessages.TraceRouteResponse.self,
]

private let controlMessages: [any TypedMessage.Type] = [
  ControlMessages.CreateCircuitV2.self, ControlMessages.CreateCircuitV3.self, ControlMessages.Failure.self,
  ControlMessages.RouteResult.self, ControlMessages.RouterHello.self, ControlMessages.ControllerHelloResult.self,
  LinkHello.self,
]

private let xgressMessages: [any TypedMessage.Type] = [
  XgressMessages.Payload.self, XgressMessages.Acknowledgement.self, XgressMessages.Control.self,
  XgressMessages.Close.self,
]
