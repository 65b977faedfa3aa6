/// Takes octets one behind the other.
protocol OctetSink {
  mutating func take(_ octets: UnsafeRawBufferPointer)
  mutating func take(_ text: StaticString)
}

extension Array: OctetSink where Element == UInt8 {
  mutating func take(_ octets: UnsafeRawBufferPointer) { append(contentsOf: octets) }
  mutating func take(_ text: StaticString) { text.withUTF8Buffer { append(contentsOf: $0) } }
}

/// Writes lines of heads: texts as the octets they stand for. Nothing that is written here ends its line, whoever made
/// it.
enum MessageText {
  static func write(requestLine method: String, _ target: String, to sink: inout some OctetSink) {
    write(method, .visible, to: &sink)
    sink.take(" ")
    write(target, .visible, to: &sink)
    sink.take(" HTTP/1.1\r\n")
  }

  static func write(statusLine status: Int, _ reason: String, minor: Int, to sink: inout some OctetSink) {
    sink.take(minor == 0 ? "HTTP/1.0 " : "HTTP/1.1 ")
    write("\(status)", .visible, to: &sink)
    sink.take(" ")
    write(reason, .value, to: &sink)
    sink.take("\r\n")
  }

  /// What has no name of a field is left out.
  static func write(field name: String, _ value: String, to sink: inout some OctetSink) {
    guard Octet.isToken(name.utf8) else { return }
    write(name, .visible, to: &sink)
    sink.take(": ")
    write(value, .value, to: &sink)
    sink.take("\r\n")
  }

  private enum Place {
    /// Spaces and control characters would end it: they are percent-encoded.
    case visible
    /// What would end the line is a space.
    case value
  }

  private static func write(_ text: String, _ place: Place, to sink: inout some OctetSink) {
    var text = text
    text.withUTF8 { utf8 in
      let utf8 = UnsafeRawBufferPointer(utf8)
      var isPlain = true
      for octet in utf8 where octet <= Octet.space || octet == 0x7F || octet == 0xF4 {
        if place == .value, octet == Octet.space { continue }
        isPlain = false
        break
      }
      guard !isPlain else { return sink.take(utf8) }
      var octets: [UInt8] = []
      octets.reserveCapacity(utf8.count)
      var at = 0
      while at < utf8.count {
        if let octet = OctetText.standIn(utf8, at) {
          octets.append(octet)
          at += 4
          continue
        }
        let octet = utf8[at]
        at += 1
        switch place {
        case .value: octets.append([0, Octet.lineFeed, Octet.carriageReturn].contains(octet) ? Octet.space : octet)
        case .visible where octet <= Octet.space || octet == 0x7F:
          octets.append(contentsOf: (octet < 0x10 ? "%0" : "%").utf8)
          octets.append(contentsOf: String(octet, radix: 16, uppercase: true).utf8)
        case .visible: octets.append(octet)
        }
      }
      octets.withUnsafeBytes { sink.take($0) }
    }
  }
}
