import Authentication
import Crypto
import Foundation
import Model
import NIOCore
import Synchronization

struct BasicCredentials: Sendable {
  let username: String
  let password: String
}

/// Checks passwords of shares. The hash is slow on purpose, so a proof that held once is remembered for a while, as a keyed digest: it is of no use to anyone
/// who reads this process's memory dump without the key beside it, and it ends with the share's list of users.
final class PasswordProofs: Sendable {
  enum Outcome: Sendable { case proven, wrong, tooMany }

  private static let capacity = 4096
  private static let lifetime = Duration.seconds(600)

  private let key = SymmetricKey(size: .bits256)
  private let proven = Mutex<[Data: ContinuousClock.Instant]>([:])

  func check(
    _ credentials: BasicCredentials, _ route: ShareRoute, context: any FrontendContext, remote: String, on loop: any EventLoop
  ) -> EventLoopFuture<Outcome> {
    if let known = route.clearUsers[credentials.username] {
      guard context.admits(remote) else { return loop.makeSucceededFuture(.tooMany) }
      // Digests compare in constant time.
      if SHA256.hash(data: Data(credentials.password.utf8)) == SHA256.hash(data: Data(known.utf8)) { return loop.makeSucceededFuture(.proven) }
      context.failed(remote)
      return loop.makeSucceededFuture(.wrong)
    }
    let user = route.gate.users.first { $0.username == credentials.username }
    let digest = self.digest(credentials, route.token, stored: user?.password.hash ?? "")
    let now = ContinuousClock.now
    if proven.withLock({ $0[digest].map { $0 > now } ?? false }) { return loop.makeSucceededFuture(.proven) }
    guard context.admits(remote) else { return loop.makeSucceededFuture(.tooMany) }
    return loop.makeFutureWithTask {
      guard try await context.passwords.verify(credentials.password, against: user?.password) else {
        context.failed(remote)
        return .wrong
      }
      self.proven.withLock { proven in
        if proven.count >= Self.capacity { proven = proven.filter { $0.value > now } }
        if proven.count < Self.capacity { proven[digest] = now + Self.lifetime }
      }
      return .proven
    }
  }

  private func digest(_ credentials: BasicCredentials, _ token: String, stored: String) -> Data {
    var code = HMAC<SHA256>(key: key)
    // Lengths first: no two different inputs read the same.
    for part in [token, credentials.username, credentials.password, stored] {
      withUnsafeBytes(of: UInt64(part.utf8.count).littleEndian) { code.update(data: $0) }
      code.update(data: Data(part.utf8))
    }
    return Data(code.finalize())
  }
}
