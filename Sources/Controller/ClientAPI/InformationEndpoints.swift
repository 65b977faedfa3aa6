import JSON
import Model
import PKI
import REST
import Transport
import Wire

/// What anybody may know of a controller (edge-client-api.md 1.9, 2.3, 2.7, 3.6).
enum InformationEndpoints {
  /// Where the APIs live, by the name of their binding; `edge` is the older name of the client API.
  static let clientPath = "/edge/client/v1"
  static let legacyClientPath = "/edge/v1"
  static let managementPath = "/edge/management/v1"
  private static let bindings = [
    ("edge", clientPath), ("edge-client", clientPath), ("edge-management", managementPath),
  ]

  /// In every API, and at the bare root.
  static func shared(_ core: ControllerCore) -> [Endpoint] {
    let bundle = APIResponse.text(
      core.pki.bundle, contentType: "application/pkcs7-mime", headers: [("content-transfer-encoding", "base64")])
    return [
      .open("GET", "/", "Version and addresses of the APIs") { _ in .data(version(core)) },
      .open("GET", "/version", "Version and addresses of the APIs") { _ in .data(version(core)) },
      .open("GET", "/.well-known/est/cacerts", "Authorities of the network as PKCS#7") { _ in bundle },
      // All names that a client may meet at some controller, not those that this one has.
      .open("GET", "/enumerated-capabilities", "Names of capabilities") { _ in .data(["OIDC_AUTH", "HA_CONTROLLER"]) },
      .open("GET", "/network-jwts", "Token that introduces this network") { request in
        .list([["name": "default", "token": .string(try await networkToken(core))]], query: try ListQuery(request))
      },
      // None are named: SDKs would go on to the others, which do not know their session.
      Endpoint("GET", "/controllers", "Controllers of the cluster") { request, _ in
        .list([], query: try ListQuery(request))
      },
    ]
  }

  static func client(_ core: ControllerCore) -> [Endpoint] {
    [
      .open("GET", "/protocols", "Protocols and their addresses") { _ in
        .data(["https": ["address": .string("\(core.advertised)")]])
      },
      .open("GET", "/external-jwt-signers", "Signers of external tokens") { request in
        .list([], query: try ListQuery(request))
      },
    ]
  }

  private static func version(_ core: ControllerCore) -> JSONValue {
    let build = VersionInfo.current
    let apis = bindings.map { name, path in
      (name, ["v1": ["path": .string(path), "apiBaseUrls": [.string(core.url + path)]]] as JSONValue)
    }
    return [
      "version": .string(build.version), "revision": .string(build.revision), "buildDate": .string(build.buildDate),
      "runtimeVersion": "swift",
      // Ours: cost and precedence of an identity as a host are applied here, and SDKs need not.
      "capabilities": ["SWIFTLET_HOSTING"], "apiVersions": .object(Dictionary(uniqueKeysWithValues: apis)),
    ]
  }

  private static func networkToken(_ core: ControllerCore) async throws -> String {
    struct Claims: Codable {
      var iss: String
      var sub: String
      var aud: String
      var jti: String
      var em: String
    }
    let address = core.url + "/"
    return try await core.pki.signer.sign(
      Claims(iss: address, sub: address, aud: "openziti-enroller", jti: EntityID.uuid(), em: "network"))
  }
}
