import Logging

/// What the identity may use: the services as the controller told them last, and who hears of changes.
extension Overlay {
  /// Hosts of a service that was changed take so long, at most, until they have bound anew.
  static let settlingTime = Duration.seconds(3)

  /// The services the identity may use now, asked of the controller, in the order of their names.
  /// - Throws: `OverlayError` when the controller does not answer or does not accept the identity any more.
  public func services() async throws -> [ServiceInfo] {
    try await reloadServices()
    return Self.list(known)
  }

  /// What the identity may do with a service, as far as is known: the controller was asked within the poll interval,
  /// where it could be asked.
  package func rights(_ service: String) -> (canDial: Bool, canHost: Bool) {
    let permissions = known[service]?.permissions ?? []
    return (permissions.contains(Action.dial.rawValue), permissions.contains(Action.bind.rawValue))
  }

  /// What the identity may use, as it changes: first what it may use now, then the whole list again whenever anything
  /// of it is another. The controller is asked each poll interval, and whenever a dial gives cause to.
  ///
  /// - Returns: a sequence for one reader, who finds the newest list when slow; it ends when the overlay is closed.
  public func serviceChanges() -> AsyncStream<[ServiceInfo]> {
    let (lists, watcher) = AsyncStream<[ServiceInfo]>.makeStream(bufferingPolicy: .bufferingNewest(1))
    guard !isClosed else {
      watcher.finish()
      return lists
    }
    lastWatcher += 1
    let id = lastWatcher
    watchers[id] = watcher
    watcher.onTermination = { [weak self] _ in
      Task { [weak self] in
        guard let self else { return }
        await self.forgetWatcher(id)
      }
    }
    watcher.yield(Self.list(known))
    return lists
  }

  private func forgetWatcher(_ id: UInt64) { watchers[id] = nil }

  func tellOfChanges(since old: [String: ControllerClient.Service]) {
    guard !watchers.isEmpty else { return }
    let list = Self.list(known)
    guard list != Self.list(old) else { return }
    for watcher in watchers.values { watcher.yield(list) }
  }

  private static func list(_ services: [String: ControllerClient.Service]) -> [ServiceInfo] {
    services.values.sorted { $0.name < $1.name }.map { service in
      ServiceInfo(
        id: service.id, name: service.name, encryptionRequired: service.encryptionRequired,
        canDial: service.permissions.contains(Action.dial.rawValue),
        canHost: service.permissions.contains(Action.bind.rawValue),
        configs: service.config ?? [:])
    }
  }

  func reloadServices() async throws {
    let client = client
    readings.started += 1
    let number = readings.started
    // Asked first: a change between the two questions is seen as new at the next poll.
    let change = try await authorized { try await client.lastChange(token: $0) }
    let all = try await authorized { try await client.services(token: $0) }
    // What was read later is newer.
    guard number > readings.done else { return }
    readings.done = number
    lastChange = change
    replaceServices(Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }))
  }

  func replaceServices(_ new: [String: ControllerClient.Service]) {
    let (old, now) = (known, ContinuousClock.now)
    known = new
    let ids = Set(new.values.map(\.id))
    sessions = sessions.filter { ids.contains($0.key.service) }
    changes = changes.filter { now - $0.value < Self.settlingTime }
    for (name, service) in new where old[name].map({ !$0.isSame(as: service) }) ?? false { changes[name] = now }
    for hosting in hosted.values where old[hosting.name]?.isOffered(like: new[hosting.name]) != true {
      hosting.calls.yield()
    }
  }

  /// Asks whether the services changed, and reads them again if so. Those who ask at the same time ask once.
  func refreshServices() async throws { try await refreshes.run { try await self.askForChanges() } }

  func askForChanges() async throws {
    let client = client
    if try await authorized({ try await client.lastChange(token: $0) }) != lastChange { try await reloadServices() }
  }

  /// The service, when the identity may do that with it; asks the controller before it says no.
  func service(_ name: String, _ action: Action) async throws -> ControllerClient.Service {
    func find() -> ControllerClient.Service? {
      known[name].flatMap { $0.permissions.contains(action.rawValue) ? $0 : nil }
    }
    if let found = find() { return found }
    try await refreshServices()
    if let found = find() { return found }
    throw known[name] == nil
      ? OverlayError.serviceNotFound(name: name) : .notPermitted(service: name, action: action.rawValue)
  }
}
