/// The API session with the controller, and the sessions for services that dials and hosts are made with.
extension Overlay {
  struct SessionKey: Hashable {
    let service: String
    let action: Action
  }

  /// The name the network knows the identity by, which an operator may change; as it was at the last login.
  public var identityName: String { get async throws { try await current().identity.name ?? "" } }

  func current() async throws -> ControllerClient.Login {
    guard !isClosed else { throw OverlayError.closed }
    if let login { return try await login.value }
    let client = client
    let application = options.application
    let task = Task {
      do { return try await client.logIn(application: application) } catch {
        await slowDown()
        throw error
      }
    }
    login = task
    do { return try await task.value } catch {
      if login == task { login = nil }
      throw error
    }
  }

  /// Whoever was refused is told at a pace, and asks again at no other.
  private func slowDown() async { try? await Task.sleep(until: refusals.take(.now), clock: .continuous) }

  /// The session is of no more use: the next request logs in again.
  func forgetLogin(_ token: String) async {
    guard let login, (try? await login.value)?.token == token, self.login == login else { return }
    self.login = nil
    sessions = [:]
    hostingFacts = nil
  }

  func authorized<Value: Sendable>(_ body: @Sendable (String) async throws -> Value) async throws -> Value {
    let token = try await current().token
    do {
      return try await body(token)
    } catch OverlayError.controllerRefused(_, 401, _, _) {
      await forgetLogin(token)
      return try await body(try await current().token)
    }
  }

  /// - Parameter isFresh: asks for the routers that the session may be used at now.
  func session(_ service: ControllerClient.Service, _ action: Action, isFresh: Bool = false) async throws
    -> ControllerClient.Session
  {
    let key = SessionKey(service: service.id, action: action)
    let client = client
    if let known = sessions[key] {
      guard isFresh else { return known }
      do {
        let now = try await authorized { try await client.session(token: $0, id: known.id) }
        sessions[key] = now
        return now
      } catch OverlayError.controllerRefused(_, 404, _, _) {
        if sessions[key]?.id == known.id { sessions[key] = nil }
      }
    }
    if let task = sessionTasks[key] { return try await task.joined() }
    let task = Task { try await makeSession(service, action, key) }
    sessionTasks[key] = task
    return try await task.joined()
  }

  private func makeSession(_ service: ControllerClient.Service, _ action: Action, _ key: SessionKey) async throws
    -> ControllerClient.Session
  {
    let client = client
    defer { sessionTasks[key] = nil }
    do {
      let made = try await authorized {
        try await client.session(token: $0, service: service.id, type: action.rawValue)
      }
      sessions[key] = made
      return made
    } catch {
      // Hosts have a pace of their own.
      if action == .dial { await slowDown() }
      switch error {
      case OverlayError.controllerRefused(_, 404, _, _):
        // The service list is out of date.
        if known[service.name]?.id == service.id { known[service.name] = nil }
        lastChange = nil
        throw OverlayError.notPermitted(service: service.name, action: action.rawValue)
      case OverlayError.controllerRefused(_, _, "NO_EDGE_ROUTERS_AVAILABLE", _):
        throw OverlayError.noRouters(service: service.name)
      default: throw error
      }
    }
  }

  func forgetSession(_ service: ControllerClient.Service, _ action: Action) {
    sessions[SessionKey(service: service.id, action: action)] = nil
  }
}
