import Model

/// Circuits that are being made.
struct DialsInFlight: Sendable {
  struct Attempt: Sendable {
    var request: CircuitRequest
    var circuit: Circuit
    var number: UInt32
    var deadline: Timestamp
    var tried: Set<String>
  }

  private var attempts: [String: Attempt] = [:]
  private var byRouter = IDIndex<String>()
  private var byClient = IDIndex<String>()
  private var byDial = IDIndex<Grant>()
  /// Bytes that routers sent for theirs.
  private var weights: [String: Int] = [:]

  subscript(circuit: String) -> Attempt? { attempts[circuit] }
  var count: Int { attempts.count }
  func count(client: String) -> Int { byClient.count(client) }
  func count(dial: Grant) -> Int { byDial.count(dial) }
  func weight(router: String) -> Int { weights[router] ?? 0 }
  func of(router: String) -> [Attempt] { byRouter[router].sorted().compactMap { attempts[$0] } }
  func of(dial: Grant) -> [Attempt] { byDial[dial].sorted().compactMap { attempts[$0] } }

  mutating func put(_ attempt: Attempt) {
    remove(attempt.circuit.id)
    let id = attempt.circuit.id
    attempts[id] = attempt
    weights[attempt.request.ingressRouter, default: 0] += attempt.request.weight
    for router in attempt.circuit.path { byRouter.insert(id, router) }
    byClient.insert(id, attempt.circuit.clientID)
    byDial.insert(id, attempt.circuit.dial)
  }

  mutating func remove(_ id: String) {
    guard let attempt = attempts.removeValue(forKey: id) else { return }
    let weight = weight(router: attempt.request.ingressRouter) - attempt.request.weight
    weights[attempt.request.ingressRouter] = weight > 0 ? weight : nil
    for router in attempt.circuit.path { byRouter.remove(id, router) }
    byClient.remove(id, attempt.circuit.clientID)
    byDial.remove(id, attempt.circuit.dial)
  }
}
