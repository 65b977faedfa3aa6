import JSON
import Swiftlet
import Transport

/// Whether what this machine has at the share service is still there.
extension ShareSession {
  package nonisolated var endpoint: String { client.endpoint }

  package enum Standing: Sendable, Equatable {
    case there
    /// The service took it back, because nobody had served it for a while.
    case takenBack
    case deleted
    /// Another machine of the account has a share of that token now.
    case elsewhere
    /// The service does not answer, or does not say.
    case unknown
  }

  /// - Throws: `ShareError.environmentGone`.
  package func standing(ofShare token: String) async throws -> Standing {
    do {
      let share = try await client.call("show the share \(token)", "GET", "/detail/share/" + token.pathSegment)
      guard let machine = share["envZId"]?.stringValue else { return .there }
      return machine == identity ? .there : .elsewhere
    } catch ShareError.refused(_, let status, _) where [401, 404, 410].contains(status) {
      if await isForgotten() { throw ShareError.environmentGone(endpoint: endpoint) }
      // Of the account's token nothing follows for the share.
      return status == 410 ? .takenBack : status == 404 ? .deleted : .unknown
    } catch {
      return .unknown
    }
  }

  /// Whether the share service knows this machine no more: its environment was deleted there, or the account. false
  /// also where that cannot be told.
  package func isForgotten() async -> Bool {
    do {
      try await client.call("show this machine", "GET", "/detail/environment/" + identity.pathSegment)
      return false
    } catch ShareError.refused(_, 404, _) {
      return true
    } catch ShareError.refused(_, 401, _) {
      // The account's token is another now, or there is no such account; the network knows whether the machine is.
      do {
        _ = try await overlay().services()
        return false
      } catch OverlayError.notAuthenticated {
        return true
      } catch {
        return false
      }
    } catch {
      return false
    }
  }

  /// Tells what a refusal means where the service knows this machine no more.
  func unlessForgotten<Value: Sendable>(_ body: @Sendable () async throws -> Value) async throws -> Value {
    do { return try await body() } catch let error as ShareError {
      guard case .refused(_, 401, _) = error, await isForgotten() else { throw error }
      throw ShareError.environmentGone(endpoint: endpoint)
    }
  }
}
