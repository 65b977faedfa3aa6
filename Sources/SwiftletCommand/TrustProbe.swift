import Foundation
import JSON
import Model
import NIOCore
import PKI
import Transport
import X509

/// Learns a controller's roots on first contact: fetches them unseen, then proves that the server's own chain reaches
/// them (management-and-model.md 5.3). What that cannot prove, that it is the right controller, the person decides by
/// the fingerprint.
enum TrustProbe {
  static func fetch(_ base: String, timeout: TimeAmount) async throws -> TrustAnchors {
    let url = base + "/.well-known/est/cacerts"
    do {
      let first = try await HTTPSClient(tls: ClientTLS(trust: .any)).request(url, timeout: timeout, maxBody: 1 << 20)
      guard first.status == 200 else { throw CommandFailure("\(url) answered with status \(first.status)") }
      let anchors = TrustAnchors(try PKCS7.parse(base64: first.body))
      guard !anchors.certificates.isEmpty else { throw CommandFailure("its list of roots is empty") }
      // The same request again, now judged by what the first one brought.
      _ = try await HTTPSClient(tls: ClientTLS(trust: .anchors(anchors, as: .controller(of: nil)))).request(
        url, timeout: timeout, maxBody: 1 << 20)
      return anchors
    } catch {
      throw CommandFailure(
        "cannot establish trust in \(base)", error,
        next: "check host and port, and that it is a controller: curl -k \(base)/version")
    }
  }

  /// `https://host:port` of a controller as people write it, without a path.
  static func base(_ address: String) throws -> String {
    guard let url = ServerURL(address, impliesTLS: true, defaultPort: 1280) else {
      throw CommandFailure(
        "'\(address)' is no address of a controller",
        next: "write host:port or https://host:port, an IPv6 address in brackets: [::1]:1280")
    }
    guard url.isTLS else {
      throw CommandFailure("\(address) is not encrypted", next: "controllers answer over https only")
    }
    return "https://\(HostPort(host: url.place.host.lowercased(), port: url.place.port))"
  }

  /// Shows roots that are new here, and asks.
  static func confirms(_ roots: TrustAnchors, of base: String, yes: Bool) -> Bool {
    let isOne = roots.certificates.count == 1
    Terminal.error.line(
      "\(base) proves itself with \(isOne ? "this root certificate" : "these root certificates"), not known here yet:")
    for certificate in roots.certificates {
      Terminal.error.line("  \(certificate.commonName ?? "(no name)")  SHA-1 \(certificate.sha1Fingerprint)")
    }
    return yes || Terminal.confirms("Trust \(isOne ? "it" : "them")?")
  }

  static func refusal(_ base: String) -> CommandFailure {
    CommandFailure(
      "\(base) is not trusted",
      next: "compare the fingerprint with the operator's, then repeat with -y, or give the roots with --ca FILE")
  }

  /// Where the management API is, as `/version` says.
  static func managementBase(_ base: String, trust: ServerTrust, timeout: TimeAmount) async throws -> String {
    let url = base + "/edge/management/v1/version"
    do {
      let answer = try await HTTPSClient(tls: ClientTLS(trust: trust)).request(url, timeout: timeout)
      let envelope = try ManagementClient.envelope(answer, doing: "read the version of \(base)")
      let path =
        envelope["data"]?["apiVersions"]?["edge-management"]?["v1"]?["path"]?.stringValue ?? "/edge/management/v1"
      return base + path
    } catch {
      throw CommandFailure("cannot reach the controller at \(base)", error)
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
