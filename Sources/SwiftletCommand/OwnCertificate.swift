import Foundation
import Logging
import PKI
import ServiceLifecycle
import Transport
import X509

/// A server certificate of an authority of one's own, for services that only people one knows reach: the authority is
/// made once and kept, the certificate is issued at each start and again when it is due.
final class OwnCertificate: Service {
  private static let interval = Duration.seconds(60)

  let identity: ServerIdentity
  /// What clients and browsers are to trust.
  let authorityFile: String
  private let authority: CertificateAuthority
  private let names: [String]
  private let logger: Logger

  /// - Parameters:
  ///   - directory: where `authority.pem` and `authority.key` are kept.
  ///   - names: host names and addresses that the certificate is for.
  /// - Throws: `CommandFailure` when a kept authority cannot be used.
  init(directory: String, names: [String], logger: Logger) throws {
    authorityFile = directory + "/authority.pem"
    self.names = names
    self.logger = logger
    let keyFile = directory + "/authority.key"
    if FileManager.default.fileExists(atPath: authorityFile) {
      let (chain, key) = try CertificateFiles.load(authorityFile, keyFile)
      do { authority = try CertificateAuthority(chain: chain, key: key) } catch {
        throw CommandFailure("\(authorityFile) cannot be used", error)
      }
    } else {
      authority = try CertificateAuthority.createRoot(
        name: "Swiftlet share service \(names.first ?? "")", trustDomain: "swiftlet-share", algorithm: .p256,
        now: Date())
      // The key first: a certificate says that there is one.
      try PrivateFile.write(authority.key.pem, to: keyFile)
      try PrivateFile.write(authority.chain.pem, to: authorityFile)
    }
    let (chain, key) = try Self.issue(authority, names, now: Date())
    identity = try ServerIdentity(chain: chain, key: key)
  }

  private static func issue(_ authority: CertificateAuthority, _ names: [String], now: Date) throws -> (
    CertificateChain, PrivateKey
  ) {
    let key = try PrivateKey.generate(.p256)
    return (try authority.issueServer(publicKey: key.publicKey, names: names, uris: [], now: now), key)
  }

  func run() async throws {
    try? await cancelWhenGracefulShutdown {
      while true {
        try await Task.sleep(for: Self.interval)
        self.refresh(now: Date())
      }
    }
  }

  func refresh(now: Date) {
    guard CertificateRenewal.isDue(identity.chain.leaf, now: now) else { return }
    do {
      let (chain, key) = try Self.issue(authority, names, now: now)
      try identity.replace(chain: chain, key: key)
      logger.notice("a new certificate is in use", metadata: ["until": "\(chain.leaf.notValidAfter)"])
    } catch { logger.error("no new certificate could be issued; the old one stays", metadata: ["reason": "\(error)"]) }
  }
}
