import NIOCore
import Transport

/// One request to the server behind a share, to see whether it answers as expected.
struct HealthCheck {
  /// URL of the server, without a path.
  let target: String
  let method: String
  let path: String
  let expected: Int
  let timeout: TimeAmount

  /// - Returns: nil when it does, otherwise what is wrong.
  func run() async -> String? {
    let method = method.isEmpty ? "GET" : method.uppercased()
    guard method.utf8.count <= 16, method.utf8.allSatisfy({ (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) })
    else {
      return "'\(method.prefix(16))' is no HTTP method"
    }
    let path = path.isEmpty ? "/" : path
    // What does not begin with a slash would be part of the server's name.
    guard path.utf8.first == UInt8(ascii: "/"), path.utf8.count <= 2048,
      path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
    else {
      return "the endpoint must be a path that begins with '/'"
    }
    do {
      // The server is the sharer's own: its certificate is not what is asked about.
      let answer = try await HTTPSClient(tls: ClientTLS(trust: .any), allowsPlaintext: true).request(
        method: method, target + path, timeout: timeout, maxBody: nil)
      return answer.status == expected ? nil : "unexpected status code; got '\(answer.status)', want '\(expected)'"
    } catch { return "failed to execute request: \(error)" }
  }
}
