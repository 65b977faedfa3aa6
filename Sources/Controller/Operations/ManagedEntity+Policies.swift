import JSON
import Model
import Store

extension ServicePolicy: ManagedEntity {
  static func blank() -> ServicePolicy { ServicePolicy(id: EntityID.uuidBase62(), name: "", type: .dial) }
}

extension EdgeRouterPolicy: ManagedEntity {
  static func blank() -> EdgeRouterPolicy { EdgeRouterPolicy(id: EntityID.uuidBase62(), name: "") }
}

extension ServiceEdgeRouterPolicy: ManagedEntity {
  static func blank() -> ServiceEdgeRouterPolicy { ServiceEdgeRouterPolicy(id: EntityID.uuidBase62(), name: "") }
}

extension AuthPolicy: ManagedEntity {
  static func blank() -> AuthPolicy { AuthPolicy(id: EntityID.uuidBase62(), name: "") }

  func checkReferences(_ old: AuthPolicy?, _ transaction: StoreTransaction) throws {
    // There are no external JWT signers here that a policy could name.
    if let signer = secondary.requireExtJwtSigner ?? primary.extJwt.allowedSigners.first {
      throw ModelError(
        code: .notFound, field: "requireExtJwtSigner", reason: "external-jwt-signers with id \(signer) not found",
        value: .string(signer))
    }
  }

  func willDelete(_ transaction: StoreTransaction) throws {
    if let user = try transaction.first(Identity.self, field: "authPolicyId", equals: id) {
      throw OperationError.referenced(kind: .authPolicies, id: id, by: "identity \(user.name)")
    }
  }
}
