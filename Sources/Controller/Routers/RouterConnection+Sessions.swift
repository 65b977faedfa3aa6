import Access
import Authentication
import Fabric
import Model
import PKI
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// What a router tells of sessions and of who is connected to it.
extension RouterConnection {
  /// A router prolongs sessions by naming them, as tokens or as digests. One that it has nothing to do with answers
  /// like one that ended.
  func heartbeats(_ beats: EdgeCtrlApiSessionHeartbeat) throws {
    let now = core.now
    let unknown = beats.tokens.filter { name in
      let digest = SessionDigest.isDigest(name) ? name : SessionDigest.of(name)
      guard let session = core.sessions.apiSession(digest: digest, now: now), core.publication.concerns(router, session)
      else { return true }
      return core.sessions.use(digest: digest, now: now) == nil
    }
    guard !unknown.isEmpty else { return }
    channel.post(Wire.Message(.apiSessionRemoved, EdgeCtrlApiSessionRemoved.with { $0.tokens = unknown }))
  }

  func validateSessions(_ request: EdgeCtrlValidateSessionsRequest) throws {
    let unknown = request.sessionTokens.filter { id in
      guard let session = core.sessions.serviceSession(id), let api = core.sessions.apiSession(session.apiSessionId)
      else { return true }
      return !core.publication.concerns(router, api)
    }
    guard !unknown.isEmpty else { return }
    channel.post(
      Wire.Message(
        .sessionRemoved,
        EdgeCtrlSessionRemoved.with {
          $0.tokens = unknown
          $0.ids = unknown
        }))
  }

  /// Only identities that may use the router can be connected to it, whatever it says.
  func connectEvents(_ events: EdgeCtrlConnectEvents) throws {
    // Asked of a copy of the engine: a message may name any number of identities.
    let access = core.model { $0.access }
    let possible = Set(
      events.events.lazy.filter {
        $0.isConnected && !access.edgeRouterPolicies(identity: $0.identityID, router: router).isEmpty
      }.map(\.identityID))
    core.routers.update(router) { status in
      if events.fullState { status.identities = [] }
      for event in events.events {
        if event.isConnected, possible.contains(event.identityID) {
          status.identities.insert(event.identityID)
        } else {
          status.identities.remove(event.identityID)
        }
      }
    }
  }
}
