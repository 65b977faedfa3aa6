import Authentication
import Facts
import Foundation
import Model
import PKI
import Transport
import X509

/// What a controller counts (names of management-and-model.md 6.4).
final class ControllerFacts: Sendable {
  private let circuits = Counter()
  private let circuitFailures = Counter()
  private let terminators = Counter()
  private let apiSessions = Counter()
  private let apiSessionsEnded = Counter()
  private let serviceSessions = Counter()
  private let loginsRefused = Counter()
  private let enrollments = Counter()

  func circuitCreated() { circuits.add() }
  func circuitFailed() { circuitFailures.add() }
  func terminatorMade() { terminators.add() }
  func apiSessionMade() { apiSessions.add() }
  func apiSessionEnded() { apiSessionsEnded.add() }
  func serviceSessionMade() { serviceSessions.add() }
  func loginRefused() { loginsRefused.add() }
  func enrolled() { enrollments.add() }

  /// Counters, and what is read from the running controller when somebody asks.
  func metrics(_ core: ControllerCore) -> Metrics {
    func gauge(_ read: @escaping @Sendable (ControllerCore) -> Int) -> Metrics.Source {
      .gauge { [.init(Double(read(core)))] }
    }
    return Metrics([
      ("service.dial.success", "Circuits made", .counter(circuits)),
      ("service.dial.fail", "Dials that came to no circuit", .counter(circuitFailures)),
      ("terminator.create", "Terminators made by hosts", .counter(terminators)),
      ("api-session.create", "Logins", .counter(apiSessions)),
      ("api.session.enforcer.delete", "API sessions ended", .counter(apiSessionsEnded)),
      ("session.create", "Service sessions made", .counter(serviceSessions)),
      ("auth.refused", "Logins refused", .counter(loginsRefused)),
      ("enrollment.done", "Enrollments completed", .counter(enrollments)),
      ("api-sessions", "API sessions now", gauge { $0.sessions.counts.api }),
      ("sessions", "Service sessions now", gauge { $0.sessions.counts.services }),
      ("circuits", "Circuits now", gauge { $0.fabric.circuitCount }),
      ("terminators", "Terminators now", gauge { $0.fabric.terminatorCount }),
      ("identities", "Identities in the model", gauge { core in core.model { $0.identities.count } }),
      ("services", "Services in the model", gauge { core in core.model { $0.services.count } }),
      (
        "router.online", "1 while the control channel of the router is up",
        .gauge {
          let online = core.routers.online
          return core.model { $0.edgeRouters.values.sorted { $0.id < $1.id } }.map { router in
            .init(online.contains(router.id) ? 1 : 0, labels: [("source_entity_id", router.id), ("name", router.name)])
          }
        }
      ),
      (
        "pki.server.expires_in_seconds", "Life left of the server certificate",
        .gauge { [.init(core.pki.serverIdentity.chain.leaf.notValidAfter.timeIntervalSince(core.now.date).rounded())] }
      ),
    ])
  }
}
