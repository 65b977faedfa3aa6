public import Foundation

/// Why a router cannot be enrolled or started.
public enum RouterError: Error, Sendable, CustomStringConvertible {
  case unreadable(file: String, reason: String)
  case unwritable(file: String, reason: String)
  /// The file exists: enrolling again would end the router's present identity.
  case alreadyEnrolled(file: String)
  case badToken(String)
  case refused(status: Int, text: String)
  case badAnswer(String)
  case noController
  case keyDoesNotFit(certificate: String, key: String)
  case noRouterID(file: String)
  case nameNotCovered(name: String, file: String)
  /// The controller issued certificates that are not valid by the clock of this machine.
  case clocksDisagree(from: Date, until: Date)

  public var description: String {
    switch self {
    case .unreadable(let file, let reason):
      "\(file) cannot be read: \(reason). If the router was never enrolled, run `swiftlet router enroll` first"
    case .unwritable(let file, let reason): "\(file) cannot be written: \(reason)"
    case .alreadyEnrolled(let file):
      "\(file) exists already; the router is enrolled. Remove its identity files to enroll it anew"
    case .badToken(let reason): "the enrollment token is not usable: \(reason)"
    case .refused(let status, let text): "the controller refused the enrollment (\(status)): \(text)"
    case .badAnswer(let what): "the controller's answer is not usable: \(what)"
    case .noController: "no controller address: set ctrl.endpoint to tls:host:port in the configuration"
    case .keyDoesNotFit(let certificate, let key): "\(key) is not the key of \(certificate)"
    case .noRouterID(let file): "the certificate \(file) has no common name, which is the router's id"
    case .clocksDisagree(let from, let until):
      "the controller's certificates are valid from \(from.formatted(.iso8601)) until \(until.formatted(.iso8601)), which is not now; set the clocks of both machines"
    case .nameNotCovered(let name, let file):
      "the advertised host \(name) is not among the names of \(file); add it to edge.csr.sans and enroll the router again"
    }
  }
}
