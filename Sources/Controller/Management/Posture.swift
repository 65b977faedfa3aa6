import JSON
import Model
import REST
import Store

/// What is known of the posture of an identity: nothing, for no policy of this network asks for any, and what SDKs
/// report is not kept (edge-client-api.md 5.12).
enum Posture {
  static func data(_ core: ControllerCore, of identity: String) throws -> JSONValue {
    try check(core, identity)
    let unknown: JSONObject = ["lastUpdatedAt": .string(Timestamp.epoch.text), "postureCheckId": "", "timedOut": false]
    func report(_ members: JSONObject) -> JSONValue { .object(unknown.merging(members) { $1 }) }
    return [
      "apiSessionPostureData": [:], "domain": report(["domain": ""]), "mac": report(["addresses": []]),
      "os": report(["build": "", "type": "", "version": ""]), "processes": [],
    ]
  }

  static func failures(_ core: ControllerCore, of identity: String) throws -> JSONValue {
    try check(core, identity)
    return []
  }

  private static func check(_ core: ControllerCore, _ identity: String) throws {
    guard core.model({ $0.identities[identity] }) != nil else {
      throw StoreError.notFound(kind: .identities, id: identity)
    }
  }
}
