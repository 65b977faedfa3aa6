import Facts
import JSON
import Model
import REST
import Store

/// What monitors and load balancers ask (management-and-model.md 6.5, 6.6). Open, as the reference's are: no name of an
/// identity or service is told.
enum MonitoringEndpoints {
  static let healthPath = "/health-checks"
  static let metricsPath = "/metrics"

  static func health(_ core: ControllerCore) -> [Endpoint] {
    ["/", "/controller/raft"].map { path in
      .open("GET", path, "Whether the controller can work") { request in
        let started = ContinuousClock.now
        var failure: String?
        do { _ = try await core.store.read { try $0.currentIndex() } } catch { failure = "\(error)" }
        let isHealthy = failure == nil
        var check: JSONObject = ["id": "store.read", "healthy": .bool(isHealthy)]
        if request.query("type") != "short" {
          check["lastCheckDuration"] = .string("\(ContinuousClock.now - started)")
          check["lastCheckTime"] = .string(core.now.text)
          if let failure { check["err"] = .string(failure) }
        }
        var document: JSONObject = ["data": ["healthy": .bool(isHealthy), "checks": [.object(check)]], "meta": [:]]
        if path != "/" { document["raft"] = ["isRaftEnabled": false, "isLeader": true] }
        return .json(.object(document), status: isHealthy ? 200 : 503)
      }
    }
  }

  static func metrics(_ core: ControllerCore) -> [Endpoint] {
    let metrics = core.facts.metrics(core)
    return [
      .open("GET", "/", "Metrics in Prometheus' text format") { _ in
        .text(metrics.text(sourceID: core.pki.controllerID), contentType: Metrics.contentType)
      }
    ]
  }
}
