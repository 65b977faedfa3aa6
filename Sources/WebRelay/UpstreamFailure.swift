import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Transport

/// Why a request was not answered by its upstream. The one place where errors of connecting, of TLS and of HTTP become
/// words: the page of whoever asked and the lines of whoever runs that server say the same. It names no address, for
/// the one who asked need not know any.
public struct UpstreamFailure: Sendable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// Nobody takes connections there.
    case down
    /// What it shows in the TLS handshake is not believed.
    case untrusted
    /// No TLS comes about.
    case insecure
    /// What it says is no answer that can be passed on.
    case unreadable
    /// It ended the connection before it had answered.
    case broken
    /// It said nothing for as long as the operator gives it.
    case silent
    /// Anything else that was thrown on the way there.
    case other
  }

  public let kind: Kind
  /// What is wrong, as the rest of a sentence that begins with the server.
  public let reason: String
  /// What whoever runs the server may do about it; empty where only they know.
  public let advice: String
  /// What was thrown.
  public let cause: any Error

  /// One line for whoever runs the server.
  public var description: String { advice.isEmpty ? reason : "\(reason); \(advice)" }

  init(_ error: any Error) {
    cause = error
    var advice = ""
    switch error {
    case RelayError.silent(let limit):
      (kind, reason) = (.silent, "it said nothing for \(limit.inWords)")
      advice = "give it more time with --response-timeout, or leave that away"
    case RelayError.upstreamClosed: (kind, reason) = (.broken, "it closed the connection before it had answered")
    case RelayError.badUpstream(let what): (kind, reason) = (.unreadable, what)
    case let fault as MessageFault: (kind, reason, advice) = Self.ofHTTP(fault)
    case is NIOConnectionError, ChannelError.connectTimeout:
      (kind, reason) = (.down, "it does not answer (\(ErrorText.words(error)))")
    case let error as IOError
    where [ECONNREFUSED, ENOENT, EACCES, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT].contains(error.errnoCode):
      (kind, reason) = (.down, "it does not answer (\(ErrorText.words(error)))")
    case is IOError: (kind, reason) = (.broken, "it broke the connection off (\(ErrorText.words(error)))")
    case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: (kind, reason, advice) = Self.ofTLS(error)
    default: (kind, reason) = (.other, "\(error)")
    }
    self.advice = advice
  }

  private static func ofTLS(_ error: any Error) -> (Kind, String, String) {
    let accepting = "accept any certificate with --insecure, or give it one that is trusted here"
    if (error as? NIOSSLExtraError) == .failedToValidateHostname {
      return (.untrusted, "its certificate is for another name", accepting)
    }
    switch error {
    case NIOSSLError.unableToValidateCertificate, NIOSSLError.noCertificateToValidate:
      return (.untrusted, "its certificate is not trusted", accepting)
    case NIOSSLError.uncleanShutdown: return (.broken, "it closed the connection without ending TLS", "")
    default: break
    }
    let text = "\(error)"
    if text.contains("CERTIFICATE_VERIFY_FAILED") {
      return (
        .untrusted, "its certificate is not trusted: self-signed, expired, or of an authority unknown here", accepting
      )
    }
    if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
      return (.insecure, "it does not speak TLS", "share http:// instead of https://")
    }
    return (.insecure, "TLS with it fails: \(ErrorText.words(error))", "")
  }

  private static func ofHTTP(_ fault: MessageFault) -> (Kind, String, String) {
    switch fault {
    case .truncated: (.broken, "it closed the connection in the middle of its answer", "")
    case .tls: (.insecure, "it speaks TLS", "share https:// instead of http://")
    case .unasked: (.unreadable, "it answers what nobody asked", "")
    case .headTooLarge:
      (
        .unreadable,
        "the fields of its answer are too large or too many: 1,000 of them and 256 KiB in all are passed on",
        "have it set fewer or shorter ones; most often they are cookies"
      )
    default: (.unreadable, "its answer is not HTTP/1.1: \(fault)", "curl -v --raw shows what it says")
    }
  }

  /// - Parameter place: what whoever asked knows of it: `share`, `address`.
  public func page(behind place: String) -> WebPage {
    let server = "The server behind this \(place)"
    let again = "This page can be reloaded at any time."
    switch kind {
    case .down:
      return .html(
        status: .badGateway, title: "\(server) is down",
        message: "The \(place) is up, but the program it leads to does not answer.",
        hint: "Ask the person who runs it to start that program. \(again)")
    case .untrusted:
      return .html(
        status: .badGateway, title: "\(server) is not trusted",
        message: "The \(place) is up, and a program answers there, but \(reason).",
        hint: "The person who runs it can \(advice).")
    case .insecure:
      return .html(
        status: .badGateway, title: "\(server) cannot be spoken to",
        message: "The \(place) is up, and a program answers there, but \(reason).",
        hint: advice.isEmpty ? "Tell the person who runs it. \(again)" : "The person who runs it can \(advice).")
    case .unreadable:
      return .html(
        status: .badGateway, title: "\(server) gave an answer that cannot be passed on",
        message: "The program answered, but \(reason).",
        hint: "Tell the person who runs it: a browser would not understand that answer either.")
    case .broken:
      return .html(
        status: .badGateway, title: "\(server) gave no answer", message: "The program took the request, but \(reason).",
        hint: "Try again in a moment, or tell the person who runs it.")
    case .silent:
      return .html(
        status: .gatewayTimeout, title: "\(server) takes too long",
        message: "The program took the request, but \(reason), and it is not given more time.",
        hint: "Try again later, or tell the person who runs it. \(again)")
    case .other:
      return .html(
        status: .badGateway, title: "No answer", message: "\(server) does not answer.",
        hint: "Try again in a moment, or tell the person who runs it.")
    }
  }
}

/// What the relay itself finds wrong with an upstream.
enum RelayError: Error {
  case upstreamClosed
  /// The rest of a sentence that begins with the upstream.
  case badUpstream(String)
  case silent(TimeAmount)
}

extension TimeAmount {
  /// `30 s`, `250 ms`.
  fileprivate var inWords: String {
    nanoseconds % 1_000_000_000 == 0 ? "\(nanoseconds / 1_000_000_000) s" : "\(nanoseconds / 1_000_000) ms"
  }
}
