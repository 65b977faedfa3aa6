import NIOCore
import PKI
import Transport

/// Where a share service is, as people write it.
enum ShareEndpoint {
  private static let patience = TimeAmount.seconds(10)

  /// The endpoint with its scheme. Without one it is https; and http of this machine, where TLS is not spoken: what
  /// crosses no wire, nobody reads on the way. Elsewhere http has to be written, for whoever can listen there reads the
  /// account's token.
  /// - Throws: `ShareError.badEndpoint`, `ShareError.plainEndpoint`. Whether anything answers there, the first call
  ///   tells.
  static func complete(_ text: String) async throws -> String {
    guard !text.contains("://") else { return text }
    guard let url = ServerURL(text, impliesTLS: true) else { throw ShareError.badEndpoint(text) }
    let isHere = isLoopback(url.place.host)
    do {
      _ = try await HTTPSClient.leaf(of: url.shortOrigin, timeout: patience)
    } catch TransportError.notTLS where !isHere {
      throw ShareError.plainEndpoint(url.authority)
    } catch TransportError.notTLS, TransportError.handshakeFailed, TransportError.closed, TransportError.timedOut {
      if isHere, await answersPlainly(url) { return "http://" + url.authority + url.path }
    } catch {}
    return url.shortOrigin + url.path
  }

  /// Names below `localhost` are not among them: not every resolver keeps them from the name servers, whose answer may
  /// lead anywhere.
  static func isLoopback(_ host: String) -> Bool { HostName(host)?.isLoopback ?? false }

  private static func answersPlainly(_ url: ServerURL) async -> Bool {
    let client = HTTPSClient(tls: ClientTLS(trust: .any), allowsPlaintext: true)
    let answer = try? await client.request("http://" + url.authority + "/", timeout: patience, maxBody: nil)
    // A port that speaks TLS may say so in plain HTTP.
    return answer.map { $0.header("location").flatMap { ServerURL($0) }?.isTLS != true } ?? false
  }
}
