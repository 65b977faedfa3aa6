public import WireSchemas

/// Where the payload of circuits goes: per circuit, from a source address to a destination address, and what stands
/// behind each address (fabric-planes.md 5.2, 5.3). Generic over the ends, which belong to the shell.
public struct ForwardingTable<End: Sendable>: Sendable {
  /// One circuit at this router.
  public struct Entry: Sendable {
    public let id: String
    public internal(set) var serviceID: String
    /// Identity that dialled.
    public internal(set) var clientID: String
    /// Identity that hosts.
    public internal(set) var hostID: String
    public let usage = CircuitUsage()
    var forwards: [String: String] = [:]
    var ends: [String: End] = [:]

    /// The ends that are attached here.
    public var attached: [End] { ends.keys.sorted().compactMap { ends[$0] } }
  }

  public enum RouteError: Error, Sendable, Equatable {
    /// An end that must exist already does not.
    case unknownDestination(String)
  }

  private var entries: [String: Entry] = [:]
  private var byIdentity = Multimap<String, String>()
  private var byService = Multimap<String, String>()
  /// Circuits that ended since usage was last taken.
  private var ended: [Entry] = []

  public init() {}

  public subscript(circuit: String) -> Entry? { entries[circuit] }
  public var circuits: [String] { entries.keys.sorted() }
  public var count: Int { entries.count }

  /// Circuits that one of the identities dialled or hosts, or that belong to one of the services.
  public func circuits(of identities: Set<String>, _ services: Set<String>) -> Set<String> {
    identities.reduce(into: services.reduce(into: []) { $0.formUnion(byService[$1]) }) { $0.formUnion(byIdentity[$1]) }
  }

  /// Whether an end is attached under that address.
  public func isAttached(_ address: String, circuit: String) -> Bool { entries[circuit]?.ends[address] != nil }

  /// Enters the forwards of a Route. The destination of type End must be attached, or be the egress that this very
  /// Route asks to dial.
  public mutating func apply(_ route: CtrlRoute) throws(RouteError) {
    var entry = entries[route.circuitID] ?? Entry(id: route.circuitID, serviceID: "", clientID: "", hostID: "")
    if let service = route.tags["serviceId"] { entry.serviceID = service }
    if let client = route.tags["clientId"] { entry.clientID = client }
    if let host = route.tags["hostId"] { entry.hostID = host }
    for forward in route.forwards {
      switch forward.dstType {
      case .end
      where entry.ends[forward.dstAddress] == nil && !(route.hasEgress && route.egress.address == forward.dstAddress):
        throw .unknownDestination(forward.dstAddress)
      case .link: throw .unknownDestination(forward.dstAddress)
      default: entry.forwards[forward.srcAddress] = forward.dstAddress
      }
    }
    if let old = entries[route.circuitID] { forget(old) }
    entries[route.circuitID] = entry
    byService.insert(entry.id, for: entry.serviceID)
    for identity in [entry.clientID, entry.hostID] { byIdentity.insert(entry.id, for: identity) }
  }

  private mutating func forget(_ entry: Entry) {
    byService.remove(entry.id, for: entry.serviceID)
    for identity in [entry.clientID, entry.hostID] { byIdentity.remove(entry.id, for: identity) }
  }

  /// Registers what stands behind an address. - Returns: false when the circuit is gone.
  public mutating func attach(_ end: End, at address: String, circuit: String) -> Bool {
    guard entries[circuit] != nil else { return false }
    entries[circuit]?.ends[address] = end
    return true
  }

  /// The end that payload from `source` goes to.
  public func destination(from source: String, circuit: String) -> End? {
    guard let entry = entries[circuit], let address = entry.forwards[source] else { return nil }
    return entry.ends[address]
  }

  @discardableResult
  public mutating func remove(_ circuit: String) -> Entry? {
    guard let entry = entries.removeValue(forKey: circuit) else { return nil }
    forget(entry)
    // Beyond the limit nobody takes usage: no controller has been connected for long.
    if ended.count < Self.endedLimit { ended.append(entry) }
    return entry
  }

  private static var endedLimit: Int { 100_000 }

  /// Usage of circuits since the last time; idle ones are left out.
  public mutating func takeUsage() -> [UsageSample] {
    let known = ended + entries.values
    ended = []
    return known.compactMap { entry in
      let bytes = entry.usage.take()
      guard bytes.fromClient > 0 || bytes.fromHost > 0 else { return nil }
      return UsageSample(
        circuit: entry.id, serviceID: entry.serviceID, clientID: entry.clientID, hostID: entry.hostID,
        fromClient: bytes.fromClient,
        fromHost: bytes.fromHost)
    }
  }
}
