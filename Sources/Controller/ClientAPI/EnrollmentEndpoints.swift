import JSON
import Model
import PKI
import REST
import Store
import Transport

/// Enrollment, open to whoever holds a token (edge-client-api.md 2.4, 2.7).
enum EnrollmentEndpoints {
  static func all(_ core: ControllerCore) -> [Endpoint] {
    let authority = EnrollmentAuthority(core: core)
    return [
      .open(
        "POST", "/enroll", body: RequestBody(.enrollment, isRequired: false, mediaTypes: mediaTypes),
        "Redeem an enrollment token"
      ) { request in
        let word = request.query("method") ?? "ott"
        guard let method = EnrollmentMethod(rawValue: word) else {
          throw APIError(.invalidEnrollMethod, "There is no enrollment method \(word.prefix(50))")
        }
        return try await redeem(authority, request, method: method, token: request.query("token"))
      },
      .open(
        "POST", "/enroll/extend/router",
        body: RequestBody(["certCsr": .required(.text), "serverCertCsr": .required(.text)]),
        "New certificates for an enrolled router"
      ) { request in
        let body = try request.object()
        let issued = try await authority.extendRouter(
          request.peer, client: text(body, clientNames), server: text(body, serverNames))
        return .data(["cert": .string(issued.client.pem), "serverCert": .string(issued.server.pem)])
      },
    ]
      + [EnrollmentMethod.ott, .updb, .erott].map { method in
        .open(
          "POST", "/enroll/\(method.rawValue)", body: RequestBody(.enrollment),
          "Redeem a token of method \(method.rawValue)"
        ) { request in
          try await redeem(authority, request, method: method, token: request.query("token"))
        }
      }
  }

  /// A signing request may come as it is; some clients do not say what they send.
  private static let mediaTypes = ["application/json", "application/pkcs7", "application/x-pem-file", "text/plain", ""]
  private static let clientNames = ["certCsr", "clientCsr"]
  private static let serverNames = ["serverCertCsr", "serverCsr"]

  private static func text(_ body: JSONObject, _ names: [String]) throws -> String {
    for name in names { if let text = try body.string(name) { return text } }
    return ""
  }

  private static func redeem(
    _ authority: EnrollmentAuthority, _ request: APIRequest, method: EnrollmentMethod, token: String?
  )
    async throws -> APIResponse
  {
    // A request may name its token and its signing request in JSON, or send the signing request alone.
    var body: JSONObject = [:]
    if request.mediaType == "application/json" {
      body = try request.object()
    } else {
      body["clientCsr"] = .string(String(decoding: request.body, as: UTF8.self))
    }
    let enrollment = try await authority.pending(
      token: try token ?? body.string("token") ?? "", method: method, from: request.peer.remoteHost)
    switch method {
    case .ott:
      let chain = try await authority.redeemIdentity(enrollment, csr: try text(body, clientNames.reversed()))
      return .data(["cert": .string(chain.pem), "ca": .string(authority.core.pki.bundlePEM)])
    case .updb:
      let name = try await authority.redeemPassword(
        enrollment, username: try body.string("username"),
        password: try body.required("password", body.string("password")))
      return .data(["username": .string(name)])
    case .erott:
      let issued = try await authority.redeemRouter(
        enrollment, client: try text(body, clientNames), server: try text(body, serverNames))
      return .data([
        "cert": .string(issued.client.pem), "serverCert": .string(issued.server.pem),
        "ca": .string(authority.core.pki.bundlePEM),
      ])
    case .ottca, .trott:
      throw APIError(.invalidEnrollMethod, "This network has no enrollments of method \(method.rawValue)")
    }
  }
}
