import Model
import Store

/// What filters and orders of the client API may name: members that the answer shows, and nothing that leads to other
/// entities. Anything else would tell callers without rights, letter by letter, what they may not see.
enum ClientSymbols {
  private static let base: Set<String> = ["id", "createdAt", "updatedAt", "tags"]

  static let services = table(.services, ["name", "roleAttributes", "terminatorStrategy", "configs"])
  static let edgeRouters = table(.edgeRouters, ["name", "cost", "noTraversal", "disabled", "online", "connected"])
  static let authenticators = table(
    .authenticators,
    [
      "method", "certFingerprint", "updbUsername", "identity", "certPem", "isIssuedByNetwork", "isExtendRequested",
      "isKeyRollRequested", "extendRequestedAt", "lastExtendRolledKeys", "lastAuthResolvedToRoot",
    ])
  static let terminators = table(.terminators, ["instanceId", "router", "service", "service.name"])
  static let sessions = table(.sessions, ["type", "service", "apiSession"])
  static let certificates = table(.apiSessionCertificates, ["apiSession", "subject", "fingerprint"])

  private static func table(_ kind: EntityKind, _ names: Set<String>) -> SymbolTable {
    SymbolTable.of(kind).only(base.union(names))
  }
}
