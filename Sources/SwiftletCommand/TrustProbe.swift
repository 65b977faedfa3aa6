import Foundation
import NIOCore
import PKI
import Transport
import X509

/// Learns a controller's roots on first contact: fetches them unseen, then proves that the server's own chain reaches them
/// (management-and-model.md 5.3). What that cannot prove, that it is the right controller, the person decides by the fingerprint.
enum TrustProbe {
  static func fetch(_ base: String, timeout: TimeAmount) async throws -> TrustAnchors {
    let url = base + "/.well-known/est/cacerts"
    do {
      let first = try await HTTPSClient(tls: ClientTLS(trust: .any)).request(url, timeout: timeout, maxBody: 1 << 20)
      guard first.status == 200 else { throw CommandFailure("\(url) answered with status \(first.status)") }
      let anchors = TrustAnchors(try PKCS7.parse(base64: first.body))
      guard !anchors.certificates.isEmpty else { throw CommandFailure("its list of roots is empty") }
      // The same request again, now judged by what the first one brought.
      _ = try await HTTPSClient(tls: ClientTLS(trust: .anchors(anchors))).request(url, timeout: timeout, maxBody: 1 << 20)
      return anchors
    } catch {
      throw CommandFailure(
        "cannot establish trust in \(base)", error, next: "check host and port, and that it is a controller: curl -k \(base)/version")
    }
  }

  /// - Parameters:
  ///   - pem: certificates one after the other.
  ///   - source: where they come from, for the error.
  static func anchors(pem: String, source: String) throws -> TrustAnchors {
    do {
      return TrustAnchors(try Certificate.list(pem: pem))
    } catch {
      throw CommandFailure("\(source) holds no usable certificates", error)
    }
  }
}

extension TrustAnchors {
  var pem: String { certificates.map(\.pem).joined() }
  var fingerprints: [String] { certificates.map(\.sha1Fingerprint).sorted() }
}
