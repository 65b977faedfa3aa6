import Foundation
import Logging
import PKI
import ServiceLifecycle
import Synchronization
import Transport

/// The certificate and key that somebody else keeps fresh, an ACME client such as certbot or lego: read again when they
/// change, used from the next handshake on.
final class CertificateFiles: Service {
  private static let interval = Duration.seconds(10)

  let identity: ServerIdentity
  private let certificate: String
  private let key: String
  private let logger: Logger
  private let seen: Mutex<[Date?]>

  /// - Throws: `CommandFailure` when the files cannot be used together.
  init(certificate: String, key: String, logger: Logger) throws {
    self.certificate = certificate
    self.key = key
    self.logger = logger
    seen = Mutex(Self.times(certificate, key))
    do {
      let (chain, privateKey) = try Self.load(certificate, key)
      identity = try ServerIdentity(chain: chain, key: privateKey)
    } catch {
      throw CommandFailure("certificate \(certificate) with key \(key) cannot be used", error)
    }
  }

  /// What `--cert` and `--key` say: the identity of a listener, and what keeps it fresh. Neither without them.
  static func identity(_ certificate: String?, _ key: String?, _ logger: Logger) throws -> (
    ServerIdentity?, [any Service]
  ) {
    guard let certificate, let key else { return (nil, []) }
    let files = try CertificateFiles(certificate: certificate, key: key, logger: logger)
    return (files.identity, [files])
  }

  func run() async throws {
    try? await cancelWhenGracefulShutdown {
      while true {
        try await Task.sleep(for: Self.interval)
        self.refresh()
      }
    }
  }

  /// Takes what changed. A pair that does not fit is half written, or wrong: the old one stays, and the next look tries
  /// again.
  func refresh() {
    let times = Self.times(certificate, key)
    guard seen.withLock({ $0 != times }) else { return }
    do {
      let (chain, privateKey) = try Self.load(certificate, key)
      try identity.replace(chain: chain, key: privateKey)
      seen.withLock { $0 = times }
      logger.notice("a new certificate is in use", metadata: ["file": "\(certificate)"])
    } catch {
      logger.error(
        "the new certificate cannot be used; the old one stays",
        metadata: ["file": "\(certificate)", "key": "\(key)", "reason": "\(error)"])
    }
  }

  static func load(_ certificate: String, _ key: String) throws -> (CertificateChain, PrivateKey) {
    (
      try CertificateChain(
        pem: String(decoding: PrivateFile.read(certificate, what: "the certificate"), as: UTF8.self)),
      try PrivateKey(pem: String(decoding: PrivateFile.read(key, what: "the key"), as: UTF8.self))
    )
  }

  /// Of the files that links lead to: ACME clients turn links.
  private static func times(_ paths: String...) -> [Date?] {
    paths.map { path in
      let file = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
      return (try? FileManager.default.attributesOfItem(atPath: file))?[.modificationDate] as? Date
    }
  }
}
