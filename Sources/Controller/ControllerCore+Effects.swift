import Access
import Authentication
import Fabric
import Foundation
import JSON
import Logging
import Model
import Store
import Wire
import WireSchemas

/// What follows from a committed change: routers learn of it, and whatever lost its right ends, before the change is
/// acknowledged.
extension ControllerCore {
  func publish(_ update: ModelUpdate) async throws {
    // Worked out on a copy of the model: what a policy changes may take long, and nobody waits for the model's lock
    // meanwhile.
    let changes = try DataModel.delta(update, model { $0 }, now: now)
    fabric.publish(changes)
    try endWhatLostItsRight(update)
    applyToFabric(update.changeSet)
    // All of that has happened, and the change is committed: a full disk may keep the rows of ended sessions for a
    // while, nothing else.
    do { try await sessions.deleteEnded(now: now) } catch {
      logger.error(
        "ended sessions are still in the database; tried again within a minute", metadata: ["error": "\(error)"])
    }
  }

  private func endWhatLostItsRight(_ update: ModelUpdate) throws {
    var sessions: Set<String> = []
    for lost in update.delta.access where !lost.gained {
      let type: PolicyType =
        switch lost.action {
        case .dial: .dial
        case .bind: .bind
        }
      sessions.formUnion(self.sessions.serviceSessions(identity: lost.identity, service: lost.service, type: type))
    }
    var apiSessions: Set<String> = []
    for change in update.changeSet.changes {
      if case (.services, .delete) = (change.kind, change.action) {
        sessions.formUnion(self.sessions.serviceSessions(service: change.id))
      }
      apiSessions.formUnion(try sessionsWithoutProof(after: change, by: update.changeSet.context))
    }
    publication.ended(self.sessions.end(serviceSessions: sessions))
    end(apiSessions)
    publication.rightsChanged(of: update.delta.routerAccessIdentities)
    if !configuration.keepsCircuitsOfLostRouters, !update.delta.routerAccessServices.isEmpty {
      endWhatLostItsRouter(update.delta.routerAccessServices)
    }
    // After the routers were told why: they end circuits with the reason, and this ends what is left.
    for lost in update.delta.access where !lost.gained {
      fabric.handle(.rightLost(Grant(identity: lost.identity, service: lost.service), lost.action))
    }
  }

  /// API sessions whose login would not be accepted any more.
  private func sessionsWithoutProof(after change: Change, by context: ChangeContext) throws -> Set<String> {
    switch (change.kind, change.action) {
    case (.identities, .delete): return sessions.apiSessions(identity: change.id)
    case (.identities, .update):
      guard let identity = model({ $0.identities[change.id] }) else { return [] }
      if identity.isDisabled(at: now) { return sessions.apiSessions(identity: change.id) }
      let old = try change.before?.decode(Identity.self)
      return old?.authPolicyId == identity.authPolicyId ? [] : forbiddenSessions(of: identity.id)
    case (.authPolicies, .update):
      // Whoever has the policy is affected, but only identities that are logged in have something to lose.
      let active = sessions.identities
      return model { state in active.filter { state.identities[$0]?.authPolicyId == change.id } }
        .reduce(into: []) { $0.formUnion(forbiddenSessions(of: $1)) }
    case (.authenticators, .delete):
      attempts.forget(change.id)
      return sessions.apiSessions(authenticator: change.id)
    case (.authenticators, .update):
      let (old, new) = (try change.before?.decode(Authenticator.self), try change.after?.decode(Authenticator.self))
      guard old?.passwordChangedAt != new?.passwordChangedAt else { return [] }
      return sessions.apiSessions(authenticator: change.id).subtracting(context.apiSessionID.map { [$0] } ?? [])
    default: return []
    }
  }

  /// At the start: the last process may have ended after a right was taken away on disk and before anything that hung
  /// on it ended.
  func judgeWhatWasStored() async throws {
    let proofs = Set(sessions.apiSessions.map(\.authenticatorId))
    let gone = try await store.read { reader in try proofs.filter { try reader.get(Authenticator.self, $0) == nil } }
    var ended = gone.reduce(into: Set<String>()) { $0.formUnion(sessions.apiSessions(authenticator: $1)) }
    for id in sessions.identities {
      let isWelcome = model { state in state.identities[id].map { !$0.isDisabled(at: now) } ?? false }
      ended.formUnion(isWelcome ? forbiddenSessions(of: id) : sessions.apiSessions(identity: id))
    }
    let circuits = fabric.allCircuits
    let isPlaced = Dictionary(uniqueKeysWithValues: circuits.map { ($0.id, fabric.terminator($0.terminatorID) != nil) })
    let keepsLost = configuration.keepsCircuitsOfLostRouters
    let lost = model { state in
      circuits.filter { circuit in
        func may(_ identity: String, _ action: AccessAction) -> Bool {
          state.access.grants.actions(identity: identity, service: circuit.serviceID).contains(action)
        }
        func isUsable(_ router: String) -> Bool {
          guard let entity = state.edgeRouters[router], !entity.disabled, entity.isVerified else { return false }
          return keepsLost
            || !state.access.serviceEdgeRouterPolicies(service: circuit.serviceID, router: router).isEmpty
        }
        // Terminators that operators made may have no host.
        let isHosted = isPlaced[circuit.id] ?? false || circuit.hostID.isEmpty || may(circuit.hostID, .bind)
        return !may(circuit.clientID, .dial) || !isHosted || !circuit.path.allSatisfy(isUsable)
      }
    }
    guard !ended.isEmpty || !lost.isEmpty else { return }
    logger.notice(
      "what had lost its right when the last process ended is ended now",
      metadata: ["sessions": "\(ended.count)", "circuits": "\(lost.count)"])
    // Routers that still carry these circuits are told to end them when they report them.
    for circuit in lost { fabric.handle(.remove(circuit: circuit.id)) }
    try await endSessions(apiSessions: ended)
  }

  /// Sessions made with a kind of proof that the auth policy does not allow now.
  private func forbiddenSessions(of identity: String) -> Set<String> {
    let rules = authPolicy(of: identity).primary
    return Set(
      sessions.sessions(identity: identity).lazy.filter { session in
        switch session.authenticationMethod {
        case .cert: !rules.cert.allowed
        case .updb: !rules.updb.allowed
        case nil: false
        }
      }.map(\.id))
  }

  nonisolated func authPolicy(of identity: String) -> AuthPolicy {
    model { state in
      state.identities[identity].flatMap { state.authPolicies[$0.authPolicyId] } ?? AuthPolicy(id: "none", name: "none")
    }
  }

  /// Ends the circuits and hosts of services at routers that they may no longer use.
  private func endWhatLostItsRouter(_ services: Set<String>) {
    let usable = model { state in
      Dictionary(uniqueKeysWithValues: services.map { ($0, state.access.routers(service: $0)) })
    }
    for (service, usable) in usable {
      let stranded = fabric.keep(service: service, to: usable)
      // The sessions stay good at other routers: only this one is told that they ended, and drops the hosts.
      for (router, hosts) in Dictionary(grouping: stranded, by: \.routerID) {
        let ids = Set(hosts.map(\.hostID)).reduce(into: Set<String>()) {
          $0.formUnion(sessions.serviceSessions(identity: $1, service: service, type: .bind))
        }
        publication.end(serviceSessions: ids.sorted(), at: router)
      }
    }
  }

  private func applyToFabric(_ changeSet: ChangeSet) {
    for change in changeSet.changes {
      switch change.kind {
      case .terminators:
        let terminator = try? change.after?.decode(Terminator.self)
        fabric.handle(terminator.map { .place(LiveTerminator($0)) } ?? .displace(terminator: change.id))
      case .services where change.action == .delete:
        fabric.handle(.serviceRemoved(change.id))
      case .identities where change.action == .update: restand(change)
      case .edgeRouters:
        let router = model { $0.edgeRouters[change.id] }
        if router == nil {
          fabric.handle(.routerRemoved(change.id))
          routers.forget(change.id)
          wholeStatePace.forget(change.id)
          routerCertificatePace.forget(change.id)
          quiescePace.forget(change.id)
        }
        if router?.disabled ?? true || router?.isVerified == false { expel(change.id) }
      default: break
      }
    }
  }

  /// Where an identity says another cost or precedence of hosting, the terminators that it has get them.
  private func restand(_ change: Change) {
    guard let old = try? change.before?.decode(Identity.self), let new = try? change.after?.decode(Identity.self) else {
      return
    }
    let services = model { $0.access.grants.services(for: change.id, action: .bind) }.filter {
      old.standing(of: $0) != new.standing(of: $0)
    }
    guard !services.isEmpty else { return }
    fabric.handle(
      .standing(identity: change.id, of: Dictionary(uniqueKeysWithValues: services.map { ($0, new.standing(of: $0)) })))
  }

  /// Ends everything at a router that was deleted or disabled, or enrolls anew, and then its channel.
  private func expel(_ router: String) {
    // First: from here on nobody listens to the router, so nothing that it says brings back what ends below.
    fabric.expel(router)
    publication.expel(router)
    fabric.handle(.routerDisabled(router))
    fabric.disconnect(router)
  }

  /// Terminators as the fabric knows them: those made over REST and the leases of live hosts.
  nonisolated var liveTerminators: [LiveTerminator] { fabric.terminators }

  /// Ends API sessions with everything that hangs on them; routers close their connections.
  /// - Throws: `StoreError` when they ended but their rows cannot be deleted now; that is tried again.
  ///   `ChangeDeadline.Passed` when none ended.
  nonisolated func endSessions(apiSessions ids: Set<String>) async throws {
    guard !ids.isEmpty else { return }
    try ChangeDeadline.current?.begin()
    end(ids)
    try await sessions.deleteEnded(now: now)
  }

  private nonisolated func end(_ apiSessions: Set<String>) {
    let ended = sessions.end(apiSessions: apiSessions)
    publication.ended(ended)
    for _ in ended.api { facts.apiSessionEnded() }
  }

  /// Ends service sessions; routers close the circuits and terminators made with them.
  nonisolated func endSessions(serviceSessions ids: Set<String>) async throws {
    guard !ids.isEmpty else { return }
    try ChangeDeadline.current?.begin()
    publication.ended(sessions.end(serviceSessions: ids))
    try await sessions.deleteEnded(now: now)
  }
}

extension LiveTerminator {
  /// Of a terminator made over REST.
  init(_ terminator: Terminator) {
    var peerData: [UInt32: [UInt8]] = [:]
    for (key, value) in terminator.peerData {
      if let key = UInt32(key), let bytes = Data(base64Encoded: value) { peerData[key] = Array(bytes) }
    }
    self.init(
      id: terminator.id, serviceID: terminator.serviceId, routerID: terminator.routerId, hostID: terminator.hostId,
      instance: terminator.identity,
      binding: terminator.binding, address: terminator.address, cost: terminator.cost,
      precedence: terminator.precedence, peerData: peerData,
      createdAt: terminator.createdAt, isLease: false)
  }
}
