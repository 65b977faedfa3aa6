import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// Words for the errors of the libraries below, whose own texts name numbers, Swift types, and the files of the TLS
/// library's build.
public enum ErrorText {
  /// - Returns: one line for people and logs. An error of ours says itself what it is.
  public static func words(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError: words(error)
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as ChannelError: words(error)
    case let error as NIOSSLError: words(error)
    case let error as BoringSSLError: words(error)
    case let error as NIOSSLExtraError where error == .failedToValidateHostname:
      "the certificate does not name the host"
    case is NIOSSLCloseTimedOutError: "the peer did not end TLS in time"
    case is CancellationError: "it was cancelled"
    default: plain("\(error)")
    }
  }

  /// Whether the peer answered with something that is not TLS.
  static func isNotTLS(_ error: any Error) -> Bool {
    guard case .handshakeFailed(let cause)? = error as? NIOSSLError else { return false }
    return ["WRONG_VERSION_NUMBER", "HTTP_REQUEST"].contains(reason(in: "\(cause)") ?? "")
  }

  /// Texts into which somebody put an error of the TLS library: its reason takes the place of its number, its routines
  /// and the file of its build.
  public static func plain(_ text: String) -> String {
    guard text.contains(mark) else { return text }
    var result = ""
    var rest = text[...]
    while let found = rest.firstRange(of: mark) {
      // `[Error: 268435703 error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER at /build/x.cc:231]`
      var before = rest[..<found.lowerBound]
      if let start = before.range(of: "Error: ", options: .backwards) ?? before.range(of: "error:", options: .backwards)
      {
        before = before[..<start.lowerBound]
      }
      result += before
      let name = rest[found.upperBound...].prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
      result += meaning(String(name))
      rest = rest[name.endIndex...]
      guard rest.hasPrefix(" at ") else { continue }
      let file = rest.dropFirst(4).prefix { $0 != "," && $0 != "]" && $0 != ")" && !$0.isWhitespace }
      rest = rest[file.endIndex...]
    }
    return result + rest
  }

  private static let mark = "OPENSSL_internal:"

  /// - Returns: the name that the TLS library gives to the first reason in a text.
  private static func reason(in text: String) -> String? {
    guard let found = text.firstRange(of: mark) else { return nil }
    return String(text[found.upperBound...].prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") })
  }

  private static func meaning(_ reason: String) -> String {
    switch reason {
    case "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNEXPECTED_RECORD",
      "INVALID_OUTER_RECORD_TYPE":
      "what answers does not speak TLS"
    case "CERTIFICATE_VERIFY_FAILED", "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
      "SSLV3_ALERT_BAD_CERTIFICATE":
      "the certificate is not trusted"
    case "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate has expired"
    case "NO_APPLICATION_PROTOCOL", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "no protocol in common"
    case "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION": "no version of TLS in common"
    case "NO_SHARED_CIPHER", "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refuses the handshake"
    case "KEY_VALUES_MISMATCH", "X509_KEY_VALUES_MISMATCH": "the key is not that of the certificate"
    case "TLSV1_CERTIFICATE_REQUIRED", "TLSV1_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate"
    default: reason.lowercased().replacing("_", with: " ")
    }
  }

  private static func words(_ error: NIOConnectionError) -> String {
    if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
      return "name \(error.host) does not resolve (\(dns))"
    }
    // Several addresses of one name most often fail alike.
    var reasons: [String] = []
    for failure in error.connectionErrors {
      let reason = words(failure.error)
      if !reasons.contains(reason) { reasons.append(reason) }
    }
    return reasons.isEmpty ? "no address of \(error.host) answers" : reasons.joined(separator: "; ")
  }

  private static func words(_ error: ChannelError) -> String {
    switch error {
    case .connectTimeout: "no answer in time"
    case .eof, .inputClosed, .outputClosed, .alreadyClosed, .ioOnClosedChannel: "the connection is closed"
    default: "\(error)"
    }
  }

  private static func words(_ error: NIOSSLError) -> String {
    switch error {
    case .handshakeFailed(let cause): words(cause)
    case .shutdownFailed(let cause): "TLS could not be ended: \(words(cause))"
    case .uncleanShutdown: "the peer closed the connection without ending TLS"
    case .failedToLoadCertificate: "the certificate cannot be read"
    case .failedToLoadPrivateKey: "the private key cannot be read"
    case .noCertificateToValidate: "the peer showed no certificate"
    case .unableToValidateCertificate: "the certificate is not trusted"
    default: plain("\(error)")
    }
  }

  private static func words(_ error: BoringSSLError) -> String {
    switch error {
    case .sslError(let stack), .unknownError(let stack), .invalidSNIName(let stack), .failedToSetALPN(let stack):
      if stack == [.eofDuringHandshake] { return "the peer closed the connection in the TLS handshake" }
      guard let first = stack.first else { return "TLS failed" }
      return plain("\(first)")
    case .syscallError, .zeroReturn: return "the connection broke"
    default: return plain("\(error)")
    }
  }
}
