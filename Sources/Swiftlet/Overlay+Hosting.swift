import Logging
import NIOCore
import PKI
import SealedStream
import Transport
import Wire

/// A service that is being hosted.
struct HostedService {
  let name: String
  let options: Overlay.ListenOptions
  let loop: any EventLoop
  /// The same at all routers, and whenever it binds again there: what a router had of it is replaced
  /// (edge-data-plane.md 4.3).
  let listenerID: [UInt8]
  let offered: @Sendable (IncomingDial) -> Void
  /// Hears of the first success, or of the first failure at every router.
  let report: @Sendable (Result<Void, any Error>) -> Void
  /// Calls it to look what has to be offered where.
  let calls: AsyncStream<Void>.Continuation
  /// By the name of the router.
  var places: [String: Place] = [:]
  var lookedAt = ContinuousClock.now

  /// One router that it is offered at.
  struct Place {
    /// nil: not any more.
    var offer: Offer?
    var isEstablished = false
    var failed = false
    /// Of the bind that stands, or is about to.
    var events: AsyncStream<Event>.Continuation?
  }

  /// What a host binds with; when any of it changes, it binds anew.
  struct Offer {
    let service: ControllerClient.Service
    let address: PeerAddress
    let cost: UInt16?
    let precedence: HostingPrecedence?

    func isSame(as other: Offer) -> Bool {
      service.isSame(as: other.service) && address == other.address && cost == other.cost
        && precedence == other.precedence
    }
  }

  enum Event: Sendable {
    /// The router made the terminator known.
    case established
    /// Something else is to be offered, or nothing.
    case replanned
    case ended(OverlayError)
  }

  var isComplete: Bool { places.values.count { $0.isEstablished } >= options.routers }
}

/// Hosting: one task for each service that looks what has to be offered where, and one for each router of it. Whatever
/// is known by an id is looked up again by name.
extension Overlay {
  /// How long a service that is offered at all routers it wants waits before it looks again.
  private static let idleLook = TimeAmount.seconds(60)
  /// A bind that stood for so long was none that fails again and again.
  private static let stability = Duration.seconds(2)
  /// How long what an identity says of hosting is believed.
  private static let factsLifetime = Duration.seconds(60)

  /// Offers a service. Returns when the first router took the offer; from then on the listener registers again by
  /// itself wherever it must.
  ///
  /// - Parameters:
  ///   - service: its name.
  ///   - options: how it is hosted.
  /// - Throws: `OverlayError`: `serviceNotFound`, `notPermitted`, `noRouters`, `routersUnreachable`, `bindRefused`.
  public func listen(_ service: String, options: ListenOptions = ListenOptions()) async throws -> OverlayListener {
    let listener = OverlayListener(service: service)
    let hosting = try await host(service, options: options) { listener.offered($0) }
    listener.attach(hosting)
    return listener
  }

  /// The same as ``listen(_:options:)``, for programs on event loops.
  /// - Parameter offered: called on an event loop for each dialler.
  package func host(
    _ service: String, options: ListenOptions = ListenOptions(), offered: @escaping @Sendable (IncomingDial) -> Void
  ) async throws -> Hosting {
    _ = try await self.service(service, .bind)
    guard !isClosed else { throw OverlayError.closed }
    let (reports, continuation) = AsyncStream<Result<Void, any Error>>.makeStream()
    let (calls, caller) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    lastHosting += 1
    let id = lastHosting
    hosted[id] = HostedService(
      name: service, options: options, loop: group.next(),
      listenerID: RandomSource.bytes(32), offered: offered,
      report: { continuation.yield($0) }, calls: caller)
    let hosting = Hosting(id) { [weak self] in await self?.keepHosting(id, calls) }
    hostings[id] = hosting
    caller.yield()
    var failure: any Error = OverlayError.closed
    for await report in reports {
      do {
        try report.get()
        return hosting
      } catch {
        failure = error
        break
      }
    }
    await stop(hosting)
    throw failure
  }

  package func stop(_ hosting: Hosting) async {
    hostings[hosting.id] = nil
    await hosting.stop()
  }

  // MARK: One service

  /// Offers a service at as many of its routers as wanted, until cancelled.
  private func keepHosting(_ id: UInt64, _ calls: AsyncStream<Void>) async {
    var backoff = Backoff(minimum: .milliseconds(100), maximum: .seconds(5))
    var timer: Task<Void, any Error>?
    await withDiscardingTaskGroup { group in
      for await _ in calls {
        timer?.cancel()
        guard let service = hosted[id] else { break }
        var pause = Self.idleLook
        do {
          let plan = try await look(id)
          for router in arrange(id, plan.offers) { group.addTask { await self.keepPlace(id, router) } }
          if plan.isNews { group.addTask { await self.callHosts() } }
          backoff.reset()
        } catch {
          switch error as? OverlayError {
          // Nothing may be offered as things stand.
          case .serviceNotFound, .notPermitted, .noRouters: _ = arrange(id, [:])
          default: break
          }
          service.report(.failure(error))
          logger.debug("cannot host", metadata: ["service": "\(service.name)", "error": "\(error)"])
          pause = backoff.next()
        }
        timer = Task { [pause, calls = service.calls] in
          try await Task.sleep(pause)
          calls.yield()
        }
      }
      timer?.cancel()
      group.cancelAll()
    }
    hosted[id]?.report(.failure(OverlayError.closed))
    hosted[id] = nil
  }

  /// What is to be offered now, by router, and whether there is a router that was not there before.
  private func look(_ id: UInt64) async throws -> (offers: [String: HostedService.Offer], isNews: Bool) {
    guard let service = hosted[id] else { return ([:], false) }
    let details = try await self.service(service.name, .bind)
    let routers = try await session(details, .bind, isFresh: true).edgeRouters
    let options = await standing(service.options, details)
    hosted[id]?.lookedAt = .now
    var offers: [String: HostedService.Offer] = [:]
    for router in routers {
      // One that is away from its controller may be there all the same, and comes back to where it was.
      guard let address = router.tls ?? service.places[router.name]?.offer?.address else { continue }
      offers[router.name] = HostedService.Offer(
        service: details, address: address, cost: options.cost, precedence: options.precedence)
    }
    guard !offers.isEmpty else {
      throw OverlayError.routersUnreachable(service: service.name, reason: "no router of it is online")
    }
    let isNews =
      !service.places.isEmpty && !service.isComplete
      && routers.contains { $0.tls != nil && service.places[$0.name] == nil }
    return (offers, isNews)
  }

  /// Cost and precedence: the program's, else the identity's (edge-client-api.md 5.2).
  private func standing(_ options: ListenOptions, _ service: ControllerClient.Service) async -> ListenOptions {
    guard options.cost == nil || options.precedence == nil, let facts = await identityFacts() else { return options }
    var options = options
    let cost = facts.serviceHostingCosts?[service.id] ?? facts.defaultHostingCost ?? 0
    if options.cost == nil, cost > 0 { options.cost = UInt16(clamping: cost) }
    let word = facts.serviceHostingPrecedences?[service.id] ?? facts.defaultHostingPrecedence ?? ""
    if options.precedence == nil, let precedence = HostingPrecedence(rawValue: word), precedence != .default {
      options.precedence = precedence
    }
    return options
  }

  private func identityFacts() async -> ControllerClient.Hosting? {
    if let known = hostingFacts, known.facts == nil || ContinuousClock.now - known.at < Self.factsLifetime {
      return known.facts
    }
    let client = client
    do {
      let facts = try await authorized { try await client.hosting(token: $0) }
      hostingFacts = (facts, .now)
    } catch {
      logger.debug("what the identity says of hosting cannot be read", metadata: ["error": "\(error)"])
    }
    return hostingFacts?.facts
  }

  /// Tells the places of a service what to offer: those that serve go on, then come those that can be reached. -
  /// Returns: routers that are new.
  private func arrange(_ id: UInt64, _ offers: [String: HostedService.Offer]) -> [String] {
    guard let service = hosted[id] else { return [] }
    func rank(_ router: String) -> Int { service.places[router].map { $0.isEstablished ? 0 : $0.failed ? 2 : 1 } ?? 1 }
    let wanted = Set(offers.keys.sorted { (rank($0), $0) < (rank($1), $1) }.prefix(service.options.routers))
    for (router, place) in service.places {
      let offer = wanted.contains(router) ? offers[router] : nil
      if let offer, let old = place.offer, old.isSame(as: offer) { continue }
      hosted[id]?.places[router]?.offer = offer
      place.events?.yield(.replanned)
    }
    let new = wanted.subtracting(service.places.keys).sorted()
    for router in new { hosted[id]?.places[router] = HostedService.Place(offer: offers[router]) }
    return new
  }

  // MARK: One router of a service

  /// A bind at a router, standing or being made.
  private struct Binding {
    let channel: BoundChannel
    let connID: UInt32

    func end() { channel.eventLoop.execute { channel.value.unbind(connID) } }
  }

  /// Offers a service at one router, again and again, until that is not wanted any more.
  private func keepPlace(_ id: UInt64, _ router: String) async {
    var backoff = Backoff(minimum: .milliseconds(100), maximum: .seconds(5))
    // It serves until the next one does, which takes its place at the router.
    var standing: Binding?
    var establishedAt: ContinuousClock.Instant?
    while !Task.isCancelled, let service = hosted[id], let offer = service.places[router]?.offer {
      let (events, continuation) = AsyncStream<HostedService.Event>.makeStream()
      hosted[id]?.places[router]?.events = continuation
      do {
        let channel = try await channel(router, offer.address, on: service.loop)
        let token = try await session(offer.service, .bind).token
        let binding = Binding(
          channel: channel, connID: try await bind(channel, offer, service, token: token, continuation))
        serving: for await event in events {
          switch event {
          case .established:
            standing?.end()
            standing = nil
            establishedAt = .now
            hosted[id]?.places[router]?.isEstablished = true
            hosted[id]?.places[router]?.failed = false
            service.report(.success(()))
            logger.info("hosting", metadata: ["service": "\(service.name)", "router": "\(router)"])
          case .replanned:
            if let now = hosted[id]?.places[router]?.offer, now.isSame(as: offer) { continue }
            break serving
          case .ended(let error): throw error
          }
        }
        standing?.end()
        standing = binding
      } catch {
        guard !Task.isCancelled else { break }
        logger.info(
          "hosting ended", metadata: ["service": "\(service.name)", "router": "\(router)", "reason": "\(error)"])
        await ended(id, router, offer, error)
        if let at = establishedAt, ContinuousClock.now - at > Self.stability { backoff.reset() }
        establishedAt = nil
        try? await Task.sleep(backoff.next())
      }
      hosted[id]?.places[router]?.isEstablished = false
    }
    standing?.end()
    hosted[id]?.places[router] = nil
  }

  /// A bind ended, or could not be made.
  private func ended(_ id: UInt64, _ router: String, _ offer: HostedService.Offer, _ error: any Error) async {
    hosted[id]?.places[router]?.isEstablished = false
    hosted[id]?.places[router]?.failed = true
    if let service = hosted[id], service.places.values.allSatisfy(\.failed) { service.report(.failure(error)) }
    guard let error = error as? OverlayError, case .bindRefused = error else { return }
    // A router that speaks may know better than what is kept here.
    if error.speaksOfSession { forgetSession(offer.service, .bind) }
    try? await refreshServices()
    try? await Task.sleep(until: refusedLooks.take(.now), clock: .continuous)
    hosted[id]?.calls.yield()
  }

  private func bind(
    _ channel: BoundChannel, _ offer: HostedService.Offer, _ service: HostedService, token: String,
    _ events: AsyncStream<HostedService.Event>.Continuation
  ) async throws -> UInt32 {
    var options = service.options
    options.cost = offer.cost
    options.precedence = offer.precedence
    return try await channel.eventLoop.submit { [options] in
      let listener = RouterChannel.Listener(
        token: Array(token.utf8), keys: offer.service.encryptionRequired ? .init() : nil, offered: service.offered,
        established: { events.yield(.established) }, ended: { events.yield(.ended($0)) })
      return channel.value.bind(
        service: service.name, token: token, listenerID: service.listenerID, options: options, listener: listener
      ) { error in
        if let error { events.yield(.ended(error)) }
      }
    }.get()
  }

  // MARK: Routers that come and go

  /// Calls the service that has not looked for the longest, of those that are not offered at as many routers as they
  /// want.
  func callNextHost() { hosted.values.filter { !$0.isComplete }.min { $0.lookedAt < $1.lookedAt }?.calls.yield() }

  /// There is a router that was not there before: calls everybody who wants one, a few at a time.
  private func callHosts() async {
    guard !isCallingHosts else { return }
    isCallingHosts = true
    let begin = ContinuousClock.now
    for (index, id) in hosted.filter({ !$0.value.isComplete }).keys.sorted().enumerated() {
      if index % 16 == 15 { try? await Task.sleep(for: .milliseconds(100)) }
      if let service = hosted[id], service.lookedAt < begin { service.calls.yield() }
    }
    isCallingHosts = false
  }
}
