public import Foundation

/// What is wrong with a key, a certificate, a request or a token.
public enum PKIError: Error, Sendable, Equatable, CustomStringConvertible {
  case badPrivateKey(String)
  case badCertificate(String)
  /// A signing request that cannot be read, or that does not prove possession of its key.
  case badCSR(String)
  case badBundle(String)
  case badToken(String)
  /// An authority issues nothing outside its own period: the clock is wrong, or the authority has come to its end.
  case authorityNotValid(from: Date, until: Date)
  case tokenExpired
  /// The token names a signing key that is not known here.
  case unknownTokenKey(String)

  public var description: String {
    switch self {
    case .badPrivateKey(let why): "not a usable private key: \(why)"
    case .badCertificate(let why): "not a usable certificate: \(why)"
    case .badCSR(let why): "not a usable certificate signing request: \(why)"
    case .badBundle(let why): "not a usable CA bundle: \(why)"
    case .authorityNotValid(let from, let until):
      "the signing authority is valid from \(from.formatted(.iso8601)) until \(until.formatted(.iso8601)), which is not now; check the clock of this machine"
    case .badToken(let why): "not a valid token: \(why)"
    case .tokenExpired: "the token has expired"
    case .unknownTokenKey(let kid): "the token is signed with a key unknown here (kid \(kid.prefix(64)))"
    }
  }
}
