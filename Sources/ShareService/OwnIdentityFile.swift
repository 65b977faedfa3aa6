import Controller
import NIOConcurrencyHelpers
import Swiftlet
import Transport

/// The file of an identity that the service itself dials with. Its key must be the one that the network knows, whatever
/// ends the process: the file is written beside its place before the change that makes the identity is committed, and
/// put there afterwards.
final class OwnIdentityFile: Sendable {
  let path: String
  private var staged: String { path + ".new" }
  private let wasStaged = NIOLockedValueBox(false)

  init(_ path: String) { self.path = path }

  var isThere: Bool { PrivateFile.exists(path) }

  /// Puts a file in its place that an earlier run had committed and not put there. Only where credentials are never
  /// issued again: there what is staged can be no other.
  func recover() throws {
    if !isThere, PrivateFile.exists(staged) { try place() }
  }

  /// Before the commit.
  func stage(_ credentials: ProvisioningTransaction.Credentials) throws {
    try IdentityFile(
      controllers: credentials.controllers, key: credentials.key, certificate: credentials.certificate,
      authorities: credentials.authorities,
      trustDomain: credentials.trustDomain
    ).save(to: staged)
    wasStaged.withLockedValue { $0 = true }
  }

  /// After the commit; nothing happens where it staged nothing.
  func settle() throws { if wasStaged.withLockedValue({ $0 }) { try place() } }

  private func place() throws {
    do throws(PrivateFile.Failure) { try PrivateFile.move(staged, to: path) } catch {
      throw ShareRefusal(500, "\(path) cannot be written: \(error.because)")
    }
  }

  func load() throws -> IdentityFile { try IdentityFile.load(from: path) }
}
