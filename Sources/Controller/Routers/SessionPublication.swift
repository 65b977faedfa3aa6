import Authentication
import Fabric
import Foundation
import JSON
import Model
import NIOConcurrencyHelpers
import PKI
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// Decides which router hears of which API session, and in which form; nothing else tells routers of sessions
/// (fabric-planes.md 4.8).
///
/// A router hears of the client sessions of identities that may use it, never of sessions for administration. Our
/// routers get a digest of the token, which is enough to recognise who shows it; OpenZiti's get the token. Each router
/// is told what changed for it: a session that began, whose certificates changed or that ended, and the sessions of an
/// identity that gained or lost the router. A session is withdrawn from exactly the routers that were told of it.
///
/// Messages are posted while the lock is held, and rights and sessions are read under it, so that the last message
/// about a session always tells the latest state. The lock is taken before those of the model and of the registry,
/// never the other way round.
final class SessionPublication: Sendable {
  /// How a router knows sessions.
  enum Form: Sendable {
    case token
    case digest

    init(_ router: CapabilityMask) { self = router.contains(RouterCapability.sessionDigests) ? .digest : .token }
  }

  /// Who may use which router.
  struct Rights: Sendable {
    let routers: @Sendable (_ identity: String) -> Set<String>
    let identities: @Sendable (_ router: String) -> Set<String>
  }

  /// A router that serves SDKs.
  private struct Audience {
    let channel: MessageChannel
    let connection: UInt64
    let form: Form
    /// Ids of the sessions it knows.
    var heard: Set<String> = []
  }

  private struct State {
    var audiences: [String: Audience] = [:]
    /// Session -> routers that know it; the other direction of `heard`.
    var told: [String: Set<String>] = [:]

    mutating func note(_ session: String, _ router: String) {
      audiences[router]?.heard.insert(session)
      told[session, default: []].insert(router)
    }

    mutating func forget(_ session: String, _ router: String) {
      audiences[router]?.heard.remove(session)
      told[session]?.remove(router)
      if told[session]?.isEmpty ?? false { told[session] = nil }
    }

    mutating func drop(_ router: String) {
      guard let audience = audiences.removeValue(forKey: router) else { return }
      for session in audience.heard { forget(session, router) }
    }
  }

  /// API sessions, or ids of service sessions, in one message.
  private static let chunk = 100

  private let state = NIOLockedValueBox(State())
  private let sessions: SessionRegistry
  private let rights: Rights
  private let keepsLost: Bool

  /// - Parameter keepsLost: leaves sessions at routers that their identities lost, as upstream does; new circuits are
  ///   refused all the same.
  init(sessions: SessionRegistry, rights: Rights, keepsLost: Bool) {
    self.sessions = sessions
    self.rights = rights
    self.keepsLost = keepsLost
  }

  // MARK: Routers

  /// A router serves SDKs from now on, or asks for everything once more: it gets its full state.
  /// - Parameter now: names the synchronisation; later ones must sort after earlier ones.
  func join(_ router: String, connection: UInt64, channel: MessageChannel, form: Form, now: Timestamp) {
    state.withLockedValue { state in
      if let known = state.audiences[router], known.connection > connection { return }
      state.drop(router)
      var audience = Audience(channel: channel, connection: connection, form: form)
      let all = rights.identities(router).flatMap { sessions.sessions(identity: $0) }.filter { !$0.isAdminAPI }.sorted {
        $0.id < $1.id
      }
      audience.heard = Set(all.map(\.id))
      state.audiences[router] = audience
      for session in all { state.told[session.id, default: []].insert(router) }
      for message in Self.fullState(all, form, now: now) { channel.post(message) }
    }
  }

  func leave(_ router: String, connection: UInt64) {
    state.withLockedValue { state in if state.audiences[router]?.connection == connection { state.drop(router) } }
  }

  /// The router lost every right, and its SDKs their channels there. It hears of nothing from now on.
  func expel(_ router: String) {
    state.withLockedValue { state in
      guard let audience = state.audiences[router] else { return }
      let all = audience.heard.compactMap { sessions.apiSession($0) }
      state.drop(router)
      Self.post(removed: all, to: audience)
    }
  }

  private static func fullState(_ all: [APISession], _ form: Form, now: Timestamp) -> [Wire.Message] {
    let stamp = String(now.millisecondsSinceEpoch, radix: 36)
    let id = "c" + String(repeating: "0", count: max(0, 10 - stamp.count)) + stamp + EntityID.short()
    var chunks = stride(from: 0, to: all.count, by: chunk).map { Array(all[$0..<min($0 + chunk, all.count)]) }
    // Upstream sends nothing for no sessions; our routers would keep what they knew before.
    if chunks.isEmpty, form == .digest { chunks = [[]] }
    return chunks.enumerated().map { number, part in
      var message = Wire.Message(
        .apiSessionAdded,
        EdgeCtrlApiSessionAdded.with {
          $0.isFullState = true
          $0.apiSessions = part.map { wire($0, form) }
        })
      message.headers.set(ControlHeader.syncStrategyType, "instant")
      let state: JSONValue = [
        "id": .string(id), "isLast": .bool(number == chunks.count - 1), "sequence": JSONValue(number),
      ]
      message.headers.set(ControlHeader.syncState, state.text)
      return message
    }
  }

  // MARK: Sessions

  /// A session was made. On return it is on its way to every router that its identity may use: SDKs connect within
  /// milliseconds (edge-client-api.md 8.7).
  func began(_ session: APISession) {
    state.withLockedValue { state in
      guard let session = sessions.apiSession(session.id), !session.isAdminAPI else { return }
      publish([session], to: rights.routers(session.identityId), &state)
    }
  }

  /// The certificates of a session changed.
  func changed(_ id: String) {
    state.withLockedValue { state in
      guard let session = sessions.apiSession(id) else { return }
      for router in state.told[id] ?? [] {
        guard let audience = state.audiences[router] else { continue }
        audience.channel.post(
          Wire.Message(
            .apiSessionUpdated, EdgeCtrlApiSessionUpdated.with { $0.apiSessions = [Self.wire(session, audience.form)] })
        )
      }
    }
  }

  /// Sessions ended; routers close what was made with them.
  func ended(_ ended: SessionRegistry.Ended) {
    state.withLockedValue { state in
      var services: [String: [String]] = [:]
      for session in ended.services {
        for router in state.told[session.apiSessionId] ?? [] { services[router, default: []].append(session.id) }
      }
      for (router, ids) in services {
        if let audience = state.audiences[router] { Self.post(endedServices: ids, to: audience) }
      }
      var api: [String: [APISession]] = [:]
      for session in ended.api {
        for router in state.told[session.id] ?? [] { api[router, default: []].append(session) }
      }
      for (router, sessions) in api {
        if let audience = state.audiences[router] { Self.post(removed: sessions, to: audience) }
        for session in sessions { state.forget(session.id, router) }
      }
    }
  }

  /// Ends service sessions at one router only.
  func end(serviceSessions ids: [String], at router: String) {
    state.withLockedValue { state in
      guard !ids.isEmpty, let audience = state.audiences[router] else { return }
      Self.post(endedServices: ids, to: audience)
    }
  }

  /// The routers that these identities may use have changed, or may have.
  func rightsChanged(of identities: Set<String>) {
    for identity in identities.sorted() {
      // One after the other: a policy may be of everybody, and logins wait for the lock.
      state.withLockedValue { state in
        let all = sessions.sessions(identity: identity).filter { !$0.isAdminAPI }
        guard !all.isEmpty else { return }
        let usable = rights.routers(identity)
        publish(all, to: usable, &state)
        guard !keepsLost else { return }
        var lost: [String: [APISession]] = [:]
        for session in all {
          for router in (state.told[session.id] ?? []).subtracting(usable) { lost[router, default: []].append(session) }
        }
        for (router, sessions) in lost {
          if let audience = state.audiences[router] { Self.post(removed: sessions, to: audience) }
          for session in sessions { state.forget(session.id, router) }
        }
      }
    }
  }

  private func publish(_ all: [APISession], to routers: Set<String>, _ state: inout State) {
    for router in routers {
      guard let audience = state.audiences[router] else { continue }
      let news = all.filter { !audience.heard.contains($0.id) }
      for session in news { state.note(session.id, router) }
      for start in stride(from: 0, to: news.count, by: Self.chunk) {
        let part = news[start..<min(start + Self.chunk, news.count)]
        let message = EdgeCtrlApiSessionAdded.with { $0.apiSessions = part.map { Self.wire($0, audience.form) } }
        audience.channel.post(Wire.Message(.apiSessionAdded, message))
      }
    }
  }

  // MARK: What a router says of sessions

  /// Whether a router's word about a session counts: it was told of it, or would be if it asked.
  func concerns(_ router: String, _ session: APISession) -> Bool {
    guard !session.isAdminAPI else { return false }
    return state.withLockedValue { $0.told[session.id]?.contains(router) ?? false }
      || rights.routers(session.identityId).contains(router)
  }

  // MARK: Messages

  private static func name(_ session: APISession, _ form: Form) -> String {
    switch form {
    case .token: session.token
    case .digest: SessionDigest.of(session.token)
    }
  }

  private static func wire(_ session: APISession, _ form: Form) -> EdgeCtrlApiSession {
    .with {
      $0.token = name(session, form)
      $0.id = session.id
      $0.identityID = session.identityId
      $0.certFingerprints = session.certificateFingerprints
    }
  }

  private static func post(removed sessions: [APISession], to audience: Audience) {
    for start in stride(from: 0, to: sessions.count, by: chunk) {
      let part = sessions[start..<min(start + chunk, sessions.count)]
      let message = EdgeCtrlApiSessionRemoved.with {
        $0.tokens = part.map { name($0, audience.form) }
        $0.ids = part.map(\.id)
      }
      audience.channel.post(Wire.Message(.apiSessionRemoved, message))
    }
  }

  private static func post(endedServices ids: [String], to audience: Audience) {
    for start in stride(from: 0, to: ids.count, by: chunk) {
      let part = Array(ids[start..<min(start + chunk, ids.count)])
      let message = EdgeCtrlSessionRemoved.with {
        // Routers act only on lists of equal length.
        $0.tokens = part
        $0.ids = part
      }
      audience.channel.post(Wire.Message(.sessionRemoved, message))
    }
  }
}
