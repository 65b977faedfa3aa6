public import SwiftProtobuf
public import Wire

extension Wire.Message {
  /// A message whose body is a protobuf of the control plane.
  public init(_ type: ContentType, _ body: some SwiftProtobuf.Message, headers: Headers = Headers()) {
    // Our own values always serialise: no required fields, no extensions, sizes far below the format's limit.
    self.init(contentType: type, headers: headers, body: (try? body.serializedBytes()) ?? [])
  }

  /// Reads the body.
  /// - Throws: `WireError.badBody` when it is not such a message; nested deeper than 32 levels is refused.
  public func decode<Body: SwiftProtobuf.Message>(_ type: Body.Type) throws(WireError) -> Body {
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = 32
    do { return try Body(serializedBytes: body, options: options) } catch {
      throw .badBody("not a \(Body.protoMessageName): \(error)")
    }
  }
}
