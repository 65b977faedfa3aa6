import Access
import Fabric
import Model
import Store
import SwiftProtobuf
import Wire
import WireSchemas

/// What follows from a committed change: routers learn of it, and whatever lost its right ends, before the change is acknowledged.
extension ControllerCore {
  func publish(_ update: ModelUpdate) async throws {
    let changes = try model { try DataModel.delta(update, $0, now: now) }
    fleet.publish(changes)
    try await endWhatLostItsRight(update)
    applyToFabric(update.changeSet)
  }

  private func endWhatLostItsRight(_ update: ModelUpdate) async throws {
    var sessions: Set<String> = []
    for lost in update.delta.access where !lost.gained {
      let type: PolicyType =
        switch lost.action {
        case .dial: .dial
        case .bind: .bind
        }
      sessions.formUnion(self.sessions.serviceSessions(identity: lost.identity, service: lost.service, type: type))
      if lost.action == .bind {
        fleet.withTerminators { table in
          for terminator in table.of(service: lost.service) where terminator.hostID == lost.identity && terminator.isLease {
            table.remove(terminator.id)
          }
        }
      }
    }
    var apiSessions: Set<String> = []
    for change in update.changeSet.changes {
      switch (change.kind, change.action) {
      case (.services, .delete): sessions.formUnion(self.sessions.serviceSessions(service: change.id))
      case (.identities, .delete): apiSessions.formUnion(self.sessions.apiSessions(identity: change.id))
      case (.identities, .update):
        if let identity = model({ $0.identities[change.id] }), identity.isDisabled(at: now) {
          apiSessions.formUnion(self.sessions.apiSessions(identity: change.id))
        }
      case (.authenticators, .delete):
        apiSessions.formUnion(self.sessions.apiSessions.filter { $0.authenticatorId == change.id }.map(\.id))
      default: break
      }
    }
    try await endSessions(serviceSessions: sessions)
    try await endSessions(apiSessions: apiSessions)
  }

  private func applyToFabric(_ changeSet: ChangeSet) {
    for change in changeSet.changes {
      switch change.kind {
      case .terminators:
        let terminator = try? change.after?.decode(Terminator.self)
        fleet.withTerminators { table in
          if let terminator { table.put(LiveTerminator(terminator)) } else { table.remove(change.id) }
        }
      case .services where change.action == .delete:
        fleet.withTerminators { table in for terminator in table.of(service: change.id) { table.remove(terminator.id) } }
        for circuit in fleet.circuits where circuit.serviceID == change.id { fleet.handle(.remove(circuit: circuit.id)) }
      case .edgeRouters:
        let router = model { $0.edgeRouters[change.id] }
        if router == nil {
          fleet.withTerminators { table in for terminator in table.of(router: change.id) { table.remove(terminator.id) } }
          routers.forget(change.id)
        }
        if router?.disabled ?? true || router?.isVerified == false { fleet.disconnect(change.id) }
      default: break
      }
    }
  }

  /// Terminators as the fabric knows them: those made over REST and the leases of live hosts.
  nonisolated var liveTerminators: [LiveTerminator] { fleet.terminators }

  /// Ends API sessions with everything that hangs on them; routers close their connections.
  nonisolated func endSessions(apiSessions ids: Set<String>) async throws {
    guard !ids.isEmpty else { return }
    let removed = try await sessions.remove(apiSessions: ids, now: now)
    tellRouters(removed.services)
    guard !removed.api.isEmpty else { return }
    let message = EdgeCtrlApiSessionRemoved.with {
      $0.tokens = removed.api.map(\.token)
      $0.ids = removed.api.map(\.id)
    }
    fleet.broadcast(Wire.Message(.apiSessionRemoved, message))
    for _ in removed.api { facts.apiSessionEnded() }
  }

  /// Ends service sessions; routers close the circuits and terminators made with them.
  nonisolated func endSessions(serviceSessions ids: Set<String>) async throws {
    guard !ids.isEmpty else { return }
    tellRouters(try await sessions.remove(serviceSessions: ids, now: now))
  }

  private nonisolated func tellRouters(_ removed: [ServiceSession]) {
    guard !removed.isEmpty else { return }
    let message = EdgeCtrlSessionRemoved.with {
      // Routers act only on lists of equal length.
      $0.tokens = removed.map(\.id)
      $0.ids = removed.map(\.id)
    }
    fleet.broadcast(Wire.Message(.sessionRemoved, message))
  }
}

extension LiveTerminator {
  /// Of a terminator made over REST.
  init(_ terminator: Terminator) {
    var peerData: [UInt32: [UInt8]] = [:]
    for (key, value) in terminator.peerData { if let key = UInt32(key), let bytes = Base64.bytes(value) { peerData[key] = bytes } }
    self.init(
      id: terminator.id, serviceID: terminator.serviceId, routerID: terminator.routerId, hostID: terminator.hostId, instance: terminator.identity,
      binding: terminator.binding, address: terminator.address, cost: terminator.cost, precedence: terminator.precedence, peerData: peerData,
      createdAt: terminator.createdAt, isLease: false)
  }
}
