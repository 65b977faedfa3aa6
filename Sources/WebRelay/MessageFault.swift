/// Why bytes are no HTTP/1 message that is taken. The description is a clause about the message: "its first line is
/// none of HTTP".
package enum MessageFault: Error, Equatable, CustomStringConvertible {
  case startLine
  case startLineTooLong
  case tls
  case version
  case connect
  case target
  case host
  case field
  case spaceBeforeColon
  case folded
  case value
  case headTooLarge
  case length
  case severalLengths
  case lengthAndCoding
  case coding
  case chunk
  case truncated
  case unasked

  package var description: String {
    switch self {
    case .startLine: "its first line is none of HTTP"
    case .startLineTooLong: "its first line is too long"
    case .tls: "it is TLS"
    case .version: "its version of HTTP is not spoken here"
    case .connect: "it asks for a tunnel, and there are none here"
    case .target: "its target is no path, or has spaces or control characters in it"
    case .host: "it must have exactly one Host field with a host in it"
    case .field: "a line of its head is no field"
    case .spaceBeforeColon: "a field of its head has a space before the colon"
    case .folded: "a field of its head goes on in another line"
    case .value: "a field of its head has a control character in it"
    case .headTooLarge: "the fields of its head are too large or too many"
    case .length: "its Content-Length is not a number"
    case .severalLengths: "it says two lengths of its body"
    case .lengthAndCoding: "it has a Content-Length and a Transfer-Encoding"
    case .coding: "its Transfer-Encoding is something else than chunked"
    case .chunk: "a chunk of its body has no size, or not the size that it says"
    case .truncated: "it ends before it is whole"
    case .unasked: "nobody asked for it"
    }
  }
}
