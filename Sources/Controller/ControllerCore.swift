import Access
import Authentication
import Fabric
import Foundation
import Logging
import Model
import NIOConcurrencyHelpers
import PKI
import Store
import Transport
import X509

/// What a committed change means for the rest of the controller.
struct ModelUpdate: Sendable {
  let changeSet: ChangeSet
  let delta: AccessDelta
}

/// The heart of a controller: the only writer of intent. A write is durable, applied to the read model and handed to
/// every router before it is acknowledged.
actor ControllerCore {
  nonisolated let store: Store
  nonisolated let pki: ControllerPKI
  nonisolated let configuration: ControllerConfiguration
  nonisolated let passwords: PasswordHasher
  nonisolated let sessions: SessionRegistry
  nonisolated let attempts = LoginAttempts()
  nonisolated let unstored = UnstoredRevocations()
  /// Certificates made for those who are logged in: for a session, or in place of an old one. SDKs want one in months
  /// or hours.
  nonisolated let identityCertificatePace = LoginPace()
  /// Sessions for services: a host of thousands of services has them made at its start.
  nonisolated let sessionPace: LoginPace
  nonisolated let logger: Logger
  nonisolated let routers = RouterDirectory()
  nonisolated let fabric: ControllerFabric
  nonisolated let facts = ControllerFacts()
  nonisolated let usage = UsageFeed()
  /// Which router hears of which API session.
  nonisolated let publication: SessionPublication
  nonisolated let wholeDataModel: WholeDataModel
  nonisolated let wholeStatePace = RouterPace(.wholeStates)
  nonisolated let routerCertificatePace = RouterPace(.certificates)
  nonisolated let quiescePace = RouterPace(.quiesces)
  /// Lists of more than a page that clients are reading.
  nonisolated let longLists = Places(limit: 256, ofOne: 16)
  nonisolated let clockWatch: NIOLockedValueBox<ClockWatch>
  private nonisolated let locks: [ProcessLock]
  private nonisolated let state: NIOLockedValueBox<ModelState>
  private nonisolated let advertisedAddress: NIOLockedValueBox<HostPort>
  private var tail: Task<Void, Never>?

  nonisolated var now: Timestamp { configuration.clock() }

  /// What SDKs and routers dial. With port 0 in the configuration the listener's own port, once it is bound.
  nonisolated var advertised: HostPort { advertisedAddress.withLockedValue { $0 } }
  nonisolated func advertise(port: Int) { advertisedAddress.withLockedValue { $0.port = port } }
  /// Issuer of tokens and base of API URLs: no path, no trailing slash (edge-client-api.md 2.2).
  nonisolated var url: String { "https://\(advertised)" }

  init(configuration: ControllerConfiguration, logger: Logger) async throws {
    self.configuration = configuration
    self.logger = logger
    advertisedAddress = NIOLockedValueBox(configuration.advertised)
    let now = configuration.clock()
    clockWatch = NIOLockedValueBox(ClockWatch(wall: now, steady: .now))
    // Two controllers on one database would both serve, and a right taken away at one would go on at the other.
    try PrivateFile.makeDirectory(configuration.dataDirectory)
    try PrivateFile.makeDirectory(PrivateFile.directory(of: configuration.databasePath))
    locks = try [configuration.dataDirectory + "/controller.lock", configuration.databasePath + ".lock"].map {
      try ProcessLock($0, what: "another controller")
    }
    pki = try await ControllerPKI.open(configuration, now: now.date)
    store = try await Store.open(path: configuration.databasePath, now: now)
    passwords = try PasswordHasher()
    sessionPace = LoginPace(burst: Double(max(300, configuration.sessionLimits.serviceSessions)), rate: 100)
    sessions = try await SessionRegistry(
      store: store, seal: pki.sessionSeal, limits: configuration.sessionLimits, now: now, logger: logger)
    let store = self.store
    try await BuiltInRows.insert(into: store, now: now)
    let signer = pki.signer.certificate
    _ = try await store.write(.system(), now: now) { try Self.putKey(signer, publishedUntil: nil, $0) }
    let loaded = try await store.read { reader in (try ModelState.load(reader), try reader.all(Terminator.self)) }
    let state = NIOLockedValueBox(loaded.0)
    self.state = state
    publication = SessionPublication(
      sessions: sessions,
      rights: .init(
        routers: { identity in state.withLockedValue { $0.access.routers(identity: identity) } },
        identities: { router in state.withLockedValue { $0.access.identities(router: router) } }),
      keepsLost: configuration.keepsCircuitsOfLostRouters)
    let (clock, timeline) = (configuration.clock, store.timelineID)
    // Made of a copy of the model: reading everything takes long in a large network.
    wholeDataModel = WholeDataModel { DataModel.full(state.withLockedValue { $0 }, timeline: timeline, now: clock()) }
    var settings = CircuitEngine.Settings()
    settings.routeTimeout = configuration.routeTimeout
    settings.attempts = configuration.circuitAttempts
    settings.routerAbsence = configuration.routerAbsence
    fabric = ControllerFabric(
      settings: settings, leases: CircuitLeases(path: configuration.dataDirectory + "/circuits.jsonl", logger: logger),
      usage: usage,
      clock: configuration.clock, logger: logger)
    for terminator in loaded.1 { fabric.handle(.place(LiveTerminator(terminator))) }
    if !pki.isNamed {
      logger.warning(
        "the server certificate bears no SPIFFE id of a controller; SDKs cannot tell it from a router's by more than its host name",
        metadata: ["expected": "\(SPIFFEID.controller(pki.controllerID, trustDomain: pki.trustDomain))"])
    }
    try await settle(now: now)
    try await judgeWhatWasStored()
    do {
      try await renewCertificatesIfDue()
    } catch let error as PKIError {
      // A clock that is far off must not keep the controller from its clients; once it is set, the next turn of the
      // housekeeping renews.
      logger.error("the server certificate cannot be renewed", metadata: ["error": "\(error)"])
    }
  }

  /// Lets another controller have the directory; nothing may be written after.
  nonisolated func releaseLocks() { for lock in locks { lock.release() } }

  /// Reads the model under its lock; keep it short.
  nonisolated func model<R>(_ body: (ModelState) throws -> R) rethrows -> R {
    try state.withLockedValue { try body($0) }
  }

  /// Runs one transaction; on return it is on disk, in the read model and on its way to every connected router.
  func write<R: Sendable>(_ context: ChangeContext, _ body: @escaping @Sendable (StoreTransaction) throws -> R)
    async throws -> R
  {
    let previous = tail
    let task = Task { () throws -> R in
      await previous?.value
      return try await self.perform(context, body)
    }
    tail = Task { _ = try? await task.value }
    return try await task.value
  }

  private func perform<R: Sendable>(
    _ context: ChangeContext, _ body: @escaping @Sendable (StoreTransaction) throws -> R
  ) async throws -> R {
    let committed = try await store.write(context, now: now, body)
    if let changeSet = committed.changeSet {
      do {
        let delta = try apply(changeSet)
        try await publish(ModelUpdate(changeSet: changeSet, delta: delta))
      } catch {
        // It is stored: whoever asked for it must not be told that it failed, and ask again.
        logger.critical(
          "a change is stored and does not hold everywhere yet: restart the controller",
          metadata: ["index": "\(changeSet.index)", "error": "\(error)"])
      }
    }
    return committed.value
  }

  /// A change-set that touches more entities than this is applied to a copy of the model: nobody waits for it longer
  /// than copying the tables takes.
  private static let changesInPlace = 64

  /// Policies bring together as many pairs as they have members: their work is done on a copy, while readers go on with
  /// what was.
  private func apply(_ changeSet: ChangeSet) throws -> AccessDelta {
    let policies: Set<EntityKind> = [.servicePolicies, .edgeRouterPolicies, .serviceEdgeRouterPolicies]
    guard
      changeSet.changes.count > Self.changesInPlace || changeSet.changes.contains(where: { policies.contains($0.kind) })
    else {
      return try state.withLockedValue { try $0.apply(changeSet) }
    }
    var next = state.withLockedValue { $0 }
    let delta = try next.apply(changeSet)
    // The model that was replaced is freed outside the lock as well.
    state.withLockedValue { swap(&$0, &next) }
    return delta
  }

  /// Renews the server certificate when it is due; the old one stays published while tokens signed under it live.
  func renewCertificatesIfDue(force: Bool = false) async throws {
    let now = self.now
    guard force || pki.isRenewalDue(now: now.date) else { return }
    let old = try await pki.renew(now: now.date)
    let signer = pki.signer.certificate
    // Service session tokens are the longest-lived ones.
    let until = now.adding(seconds: Int64(SessionRegistry.tokenLifetime))
    _ = try await write(.system()) { transaction in
      try Self.putKey(old, publishedUntil: until, transaction)
      try Self.putKey(signer, publishedUntil: nil, transaction)
    }
    logger.notice(
      "server certificate renewed",
      metadata: ["fingerprint": "\(signer.sha1Fingerprint)", "notAfter": "\(Timestamp(signer.notValidAfter))"])
  }

  /// Withdraws replaced certificates whose last token has expired.
  func forgetOldKeys() async throws {
    let now = self.now
    let old = model { $0.publicKeys.values.filter { $0.publishedUntil.map { $0 < now } ?? false }.map(\.id) }
    guard !old.isEmpty else { return }
    _ = try await write(.system()) { transaction in for id in old { try transaction.delete(PublicKeyRecord.self, id) } }
  }

  /// Enables identities whose disabling or lock-out was for a time that is over: routers learn of it like of any other
  /// change.
  func enableWhoseTimeIsOver() async throws {
    let now = self.now
    let over = model { $0.disabledUntil.filter { $0.value <= now }.keys }
    guard !over.isEmpty else { return }
    _ = try await write(.system()) { transaction in
      for id in over {
        guard var identity = try transaction.get(Identity.self, id) else { continue }
        identity.forgetWhatIsOver(at: now)
        try transaction.put(identity)
      }
    }
  }

  private static func putKey(_ certificate: Certificate, publishedUntil: Timestamp?, _ transaction: StoreTransaction)
    throws
  {
    let id = certificate.sha1Fingerprint
    if let known = try transaction.get(PublicKeyRecord.self, id), known.publishedUntil == publishedUntil { return }
    try transaction.put(
      PublicKeyRecord(
        id: id, kid: id, der: Data(certificate.derBytes).base64EncodedString(),
        usages: [.jwtValidation, .clientX509CertValidation],
        notAfter: Timestamp(certificate.notValidAfter), publishedUntil: publishedUntil))
  }
}

/// The rows every network has (management-and-model.md 1.24).
enum BuiltInRows {
  static func insert(into store: Store, now: Timestamp) async throws {
    _ = try await store.write(.system(), now: now) { transaction in
      for type in BuiltIn.configTypes(at: now) where try transaction.get(ConfigType.self, type.id) == nil {
        try transaction.put(type)
      }
      if try transaction.get(AuthPolicy.self, AuthPolicy.defaultID) == nil {
        try transaction.put(BuiltIn.authPolicy(at: now))
      }
    }
  }
}
