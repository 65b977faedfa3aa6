import Authentication
import Crypto
import Foundation
import Model
import NIOCore
import PKI
import Synchronization

struct BasicCredentials: Sendable {
  let username: String
  let password: String
}

/// Checks passwords of shares. The hash is slow on purpose, so a proof that held once is remembered for a while, as a
/// keyed digest: it is of no use to anyone who reads this process's memory dump without the key beside it, and it ends
/// with the share's list of users.
final class PasswordProofs: Sendable {
  enum Outcome: Sendable { case proven, wrong, tooMany }

  private static let capacity = 4096
  private static let lifetime = Duration.seconds(600)

  private let key = SymmetricKey(data: RandomSource.bytes(32))
  private let proven = Mutex<[Data: ContinuousClock.Instant]>([:])

  func check(
    _ credentials: BasicCredentials, _ route: ShareRoute, context: any FrontendContext, remote: String,
    on loop: any EventLoop
  ) -> EventLoopFuture<Outcome> {
    let clear = route.clearUsers[credentials.username]
    let user = route.gate.users.first { $0.username == credentials.username }
    let digest = self.digest(credentials, route.token, stored: clear ?? user?.password.hash ?? "")
    let now = ContinuousClock.now
    // Whoever has proven it does not wait for a neighbour who guesses.
    if proven.withLock({ $0[digest].map { $0 > now } ?? false }) { return loop.makeSucceededFuture(.proven) }
    let account = route.token + "\n" + credentials.username
    guard context.attempts.begin(account, from: remote, now: context.now.millisecondsSinceEpoch) == nil else {
      return loop.makeSucceededFuture(.tooMany)
    }
    return loop.makeFutureWithTask {
      let isRight: Bool
      if let clear {
        // Digests compare in constant time.
        isRight = SHA256.hash(data: Data(credentials.password.utf8)) == SHA256.hash(data: Data(clear.utf8))
      } else {
        do {
          isRight = try await context.passwords.verify(credentials.password, against: user?.password, from: remote)
        } catch AuthenticationError.busy {
          context.attempts.withdraw(account, from: remote, now: context.now.millisecondsSinceEpoch)
          return .tooMany
        }
      }
      guard isRight else { return .wrong }
      context.attempts.proved(account, from: remote, now: context.now.millisecondsSinceEpoch)
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
