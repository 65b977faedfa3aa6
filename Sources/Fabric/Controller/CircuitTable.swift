/// The circuits that there are, found by whatever ends them: router, service, or a right of dialler or host. No list is
/// searched where one thing changes.
struct CircuitTable: Sendable {
  private var circuits: [String: Circuit] = [:]
  private var byRouter = IDIndex<String>()
  private var byService = IDIndex<String>()
  private var byDial = IDIndex<Grant>()
  private var byBind = IDIndex<Grant>()

  subscript(id: String) -> Circuit? { circuits[id] }
  var count: Int { circuits.count }
  var all: [Circuit] { circuits.values.sorted { $0.id < $1.id } }
  var routers: [String] { Array(byRouter.keys) }

  func ids(of router: String) -> Set<String> { byRouter[router] }
  func of(router: String) -> [Circuit] { sorted(byRouter[router]) }
  func of(service: String) -> [Circuit] { sorted(byService[service]) }
  func of(dial: Grant) -> [Circuit] { sorted(byDial[dial]) }
  func of(bind: Grant) -> [Circuit] { sorted(byBind[bind]) }

  /// In the order of ids, so that the same events make the same actions.
  private func sorted(_ ids: Set<String>) -> [Circuit] { ids.sorted().compactMap { circuits[$0] } }

  mutating func insert(_ circuit: Circuit) {
    remove(circuit.id)
    circuits[circuit.id] = circuit
    for router in circuit.path { byRouter.insert(circuit.id, router) }
    byService.insert(circuit.id, circuit.serviceID)
    byDial.insert(circuit.id, circuit.dial)
    byBind.insert(circuit.id, circuit.bind)
  }

  mutating func remove(_ id: String) {
    guard let circuit = circuits.removeValue(forKey: id) else { return }
    for router in circuit.path { byRouter.remove(id, router) }
    byService.remove(id, circuit.serviceID)
    byDial.remove(id, circuit.dial)
    byBind.remove(id, circuit.bind)
  }
}
