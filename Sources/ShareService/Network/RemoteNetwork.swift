import Controller
import Foundation
import JSON
import Logging
import Model
import NIOConcurrencyHelpers
import Store
import Swiftlet
import Transport

/// Rows in a database of the share service's own, the network behind the management API.
///
/// A change is rehearsed first: its closure runs in a transaction that is rolled back, and tells which calls it needs.
/// They are written down in the journal, made, and then the closure runs again, with what the controller answered, and
/// its rows are committed together with the end of the journal's entry. A change that only takes something away is
/// committed first and told the network afterwards. The entry outlives the process, and ``settle()`` brings the change
/// to its end, or takes it back.
final class RemoteNetwork: ShareNetwork {
  /// How often a closure may ask something of the network before it is called broken.
  private static let questionLimit = 64

  private let store: Store
  private let gateway: any NetworkGateway
  private let logger: Logger
  /// Entries of changes in progress: not for `settle`.
  private let running = NIOLockedValueBox<Set<String>>([])
  /// They are never deleted while the service runs.
  private let configTypes = NIOLockedValueBox<[String: String]>([:])

  init(store: Store, gateway: any NetworkGateway, logger: Logger) {
    self.store = store
    self.gateway = gateway
    self.logger = logger
  }

  var now: Timestamp { .now() }

  // Usage events are a websocket of OpenZiti's that only a metrics bridge reads today.
  var tellsUsage: Bool { false }
  var issuesCredentialsAgain: Bool { false }
  func onUsage(_ listener: @escaping @Sendable (_ service: String, _ toHost: Int, _ fromHost: Int) -> Void) {}

  func read<R: Sendable>(_ body: @escaping @Sendable (StoreReader) throws -> R) async throws -> R {
    try await store.read(body)
  }

  private func commit<R: Sendable>(_ author: String, _ body: @escaping @Sendable (StoreTransaction) throws -> R)
    async throws -> R
  {
    try await store.write(.system(author), now: now, body).value
  }

  func write<R: Sendable>(author: String, _ body: @escaping @Sendable (any NetworkChange) throws -> R) async throws -> R
  {
    var facts = NetworkFacts(configTypes: configTypes.withLockedValue { $0 })
    for _ in 0..<Self.questionLimit {
      let known = facts
      do {
        return try await commit(author) { transaction in
          let change = RemoteChange(transaction, known, .rehearsal(mark: "~" + EntityID.short()))
          let value = try body(change)
          // Rows alone are changed: that is all.
          if change.steps.isEmpty { return value }
          throw Planned(mark: change.mark, steps: change.steps)
        }
      } catch let question as NetworkFacts.Question {
        try await answer(question, &facts)
      } catch let plan as Planned {
        return try await carryOut(plan, author, facts, body)
      }
    }
    throw ShareRefusal(500, "a change of \(author) asks the controller without end")
  }

  /// How a rehearsal ends: its transaction is rolled back.
  private struct Planned: Error {
    let mark: String
    let steps: [NetworkStep]
  }

  private func answer(_ question: NetworkFacts.Question, _ facts: inout NetworkFacts) async throws {
    switch question {
    case .configType(let name):
      let known = try await gateway.list("config-types", filter: "name=\(name.filterLiteral)").first?["id"]?.stringValue
      let id =
        if let known { known } else {
          try Self.id(
            of: try await gateway.data(
              "POST", "/config-types", ["name": .string(name)], doing: "create the config type \(name)"))
        }
      facts.configTypes[name] = id
      configTypes.withLockedValue { $0[name] = id }
    case .identity(let id):
      let (status, envelope) = try await gateway.call("GET", "/identities/\(id.pathSegment)", nil)
      guard status == 404 || (200..<300).contains(status) else {
        throw ManagementGateway.refusal(status, envelope, "read the identity \(id)")
      }
      facts.identities[id] = .some(status == 404 ? nil : envelope["data"]?["tags"]?.objectValue ?? [:])
    case .hosted(let id): facts.hosted[id] = try await isHosted(id)
    }
  }

  private func isHosted(_ service: String) async throws -> Bool {
    let (status, envelope) = try await gateway.call("GET", "/services/\(service.pathSegment)/terminators?limit=1", nil)
    if status == 404 { return false }
    guard (200..<300).contains(status) else {
      throw ManagementGateway.refusal(status, envelope, "list terminators of \(service)")
    }
    return !(envelope["data"]?.arrayValue ?? []).isEmpty
  }

  /// Services that are asked for with one call.
  static let askedAtATime = 50

  func hosting(_ services: [String]) async throws -> NetworkHosting {
    var hosting = NetworkHosting()
    for start in stride(from: 0, to: services.count, by: Self.askedAtATime) {
      var left = Array(services[start..<min(start + Self.askedAtATime, services.count)])
      while !left.isEmpty {
        let filter = "service in [\(left.map(\.filterLiteral).joined(separator: ", "))]"
        let page = try await gateway.page("terminators", filter: filter, limit: PageRequest.maximumLimit)
        for terminator in page {
          guard let service = terminator["serviceId"]?.stringValue, let router = terminator["routerId"]?.stringValue
          else { continue }
          hosting.routers[service, default: []].insert(router)
        }
        // Hosts of one service may fill the page: the others are asked for again. More is not to be known of one that
        // is offered.
        let unseen = left.filter { hosting.routers[$0] == nil }
        guard page.count >= PageRequest.maximumLimit, unseen.count < left.count else { break }
        left = unseen
      }
    }
    for router in try await gateway.list("edge-routers", filter: "true") {
      guard let id = router["id"]?.stringValue, router["isVerified"]?.boolValue ?? false,
        router["disabled"]?.boolValue != true
      else { continue }
      if router["isOnline"]?.boolValue ?? false { hosting.isPossible = true } else { hosting.away.insert(id) }
    }
    return hosting
  }

  private static func id(of data: JSONValue) throws -> String {
    guard let id = data["id"]?.stringValue, !id.isEmpty else {
      throw ShareRefusal(500, "the controller's answer names no id")
    }
    return id
  }

  // MARK: Carrying out

  private func carryOut<R: Sendable>(
    _ plan: Planned, _ author: String, _ facts: NetworkFacts,
    _ body: @escaping @Sendable (any NetworkChange) throws -> R
  ) async throws -> R {
    let entry = EntityID.short()
    running.withLockedValue { _ = $0.insert(entry) }
    defer { running.withLockedValue { _ = $0.remove(entry) } }
    guard plan.steps.contains(where: \.creates) else { return try await finish(entry, plan, author, facts, body) }
    let noted = ShareJournalEntry(id: entry, phase: .creating, steps: plan.steps)
    try await commit(author) { _ = try $0.put(noted) }
    do {
      var made: [NetworkChange.Credentials] = []
      var done: [NetworkStep] = []
      for step in plan.steps {
        let step = step.replacing(plan.mark, made.map(\.identityID))
        done.append(step)
        if step.creates { made.append(try await create(step, entry)) } else { try await perform(step) }
      }
      let (results, steps) = (made, done)
      return try await commit(author) { transaction in
        let change = RemoteChange(transaction, facts, .final(results))
        let value = try body(change)
        guard change.steps == steps else {
          throw ShareRefusal(409, "the share service changed in the meantime; try again")
        }
        _ = try transaction.delete(ShareJournalEntry.self, entry)
        return value
      }
    } catch {
      do {
        try await takeBack(entry)
      } catch {
        logger.warning("a change is to be taken back later", metadata: ["journal": "\(entry)", "reason": "\(error)"])
      }
      throw error
    }
  }

  /// A change that creates nothing: rows first, so that whatever happens nobody is told again of what is gone.
  private func finish<R: Sendable>(
    _ entry: String, _ plan: Planned, _ author: String, _ facts: NetworkFacts,
    _ body: @escaping @Sendable (any NetworkChange) throws -> R
  ) async throws -> R {
    let (value, steps) = try await commit(author) { transaction -> (R, [NetworkStep]) in
      let change = RemoteChange(transaction, facts, .final([]))
      let value = try body(change)
      guard !change.steps.contains(where: \.creates) else {
        throw ShareRefusal(409, "the share service changed in the meantime; try again")
      }
      _ = try transaction.put(ShareJournalEntry(id: entry, phase: .finishing, steps: change.steps))
      return (value, change.steps)
    }
    do {
      for step in steps { try await perform(step) }
    } catch {
      logger.warning(
        "a change is to be brought to its end later", metadata: ["journal": "\(entry)", "reason": "\(error)"])
      throw ShareRefusal(
        503, "the change is stored, but the controller could not be told; it will be told as soon as it answers")
    }
    try await forget(entry)
    return value
  }

  private func forget(_ entry: String) async throws {
    try await commit("share journal") { _ = try $0.delete(ShareJournalEntry.self, entry) }
  }

  /// - Returns: the id, with credentials where an identity was enrolled.
  private func create(_ step: NetworkStep, _ entry: String) async throws -> NetworkChange.Credentials {
    var body = step.body
    var tags = body["tags"]?.objectValue ?? [:]
    tags[ShareJournalEntry.tag] = .string(entry)
    body["tags"] = .object(tags)
    let doing = "create \(body["name"]?.stringValue ?? "an entity") in \(step.collection)"
    let id = try Self.id(of: try await gateway.data("POST", "/" + step.collection, .object(body), doing: doing))
    guard step.verb == .createEnrolled else { return .init(identityID: id) }
    let identity = try await gateway.data("GET", "/identities/\(id)", doing: "read the identity \(id)")
    guard let jwt = identity["enrollment"]?["ott"]?["jwt"]?.stringValue else {
      throw ShareRefusal(500, "the identity \(id) has no enrollment token")
    }
    return .init(identityID: id, try await gateway.enroll(jwt))
  }

  /// A step that can be repeated.
  private func perform(_ step: NetworkStep) async throws {
    switch step.verb {
    case .delete: try await gateway.delete(step.collection, step.id)
    case .deleteNamed:
      for found in try await gateway.list(step.collection, filter: "name=\(step.id.filterLiteral)") {
        try await gateway.delete(step.collection, try Self.id(of: found))
      }
    case .merge:
      let path = "/\(step.collection)/\(step.id)"
      let (status, envelope) = try await gateway.call("GET", path, nil)
      if status == 404 { return }
      guard (200..<300).contains(status) else { throw ManagementGateway.refusal(status, envelope, "read \(path)") }
      let data = (envelope["data"]?["data"]?.objectValue ?? [:]).merging(step.body) { $1 }
      _ = try await gateway.data("PATCH", path, ["data": .object(data)], doing: "change \(path)")
    case .create, .createEnrolled: throw ShareRefusal(500, "a step that creates cannot be repeated")
    }
  }

  // MARK: Replay

  /// Deletes what an entry has created, users before what they use.
  private func takeBack(_ entry: String) async throws {
    for collection in NetworkCollection.deletionOrder {
      for found in try await gateway.list(collection, filter: "tags.\(ShareJournalEntry.tag)=\(entry.filterLiteral)") {
        try await gateway.delete(collection, try Self.id(of: found))
      }
    }
    try await forget(entry)
  }

  func settle() async throws {
    for entry in try await read({ try $0.all(ShareJournalEntry.self) })
    where !running.withLockedValue({ $0.contains(entry.id) }) {
      switch entry.phase {
      case .creating: try await takeBack(entry.id)
      case .finishing:
        for step in entry.steps { try await perform(step) }
        try await forget(entry.id)
      }
      logger.notice(
        "settled a change that an earlier run had begun",
        metadata: ["journal": "\(entry.id)", "phase": "\(entry.phase.rawValue)"])
    }
  }
}

/// Collections of the management API that the share service makes entities in.
enum NetworkCollection {
  static let identities = "identities"
  static let configs = "configs"
  static let services = "services"
  static let servicePolicies = "service-policies"
  static let edgeRouterPolicies = "edge-router-policies"
  static let serviceEdgeRouterPolicies = "service-edge-router-policies"

  static let deletionOrder = [
    serviceEdgeRouterPolicies, servicePolicies, services, configs, edgeRouterPolicies, identities,
  ]
}

/// What a change wants to know of the network before it can be planned.
struct NetworkFacts: Sendable {
  enum Question: Error {
    case configType(String)
    case identity(String)
    case hosted(String)
  }

  var configTypes: [String: String] = [:]
  var identities: [String: JSONObject?] = [:]
  var hosted: [String: Bool] = [:]
}

/// A change as the closure sees it: notes the calls, and answers with what they brought, or with ids made up.
final class RemoteChange: NetworkChange {
  enum Run {
    case rehearsal(mark: String)
    /// What the calls that create brought, in their order.
    case final([Credentials])
  }

  let store: StoreTransaction
  let isRehearsal: Bool
  let mark: String
  private let facts: NetworkFacts
  private var made: ArraySlice<Credentials> = []
  private var count = 0
  private(set) var steps: [NetworkStep] = []

  init(_ store: StoreTransaction, _ facts: NetworkFacts, _ run: Run) {
    self.store = store
    self.facts = facts
    switch run {
    case .rehearsal(let mark): (isRehearsal, self.mark) = (true, mark)
    case .final(let results): (isRehearsal, mark, made) = (false, "", results[...])
    }
  }

  // MARK: Questions

  func configType(named name: String) throws -> String {
    guard let id = facts.configTypes[name] else { throw NetworkFacts.Question.configType(name) }
    return id
  }

  func identityTags(_ id: String) throws -> JSONObject? {
    guard let tags = facts.identities[id] else { throw NetworkFacts.Question.identity(id) }
    return tags
  }

  /// The controller says so when it is asked to create it.
  func hasService(named name: String) throws -> Bool { false }

  func isHosted(_ serviceID: String) throws -> Bool {
    guard let hosted = facts.hosted[serviceID] else { throw NetworkFacts.Question.hosted(serviceID) }
    return hosted
  }

  // MARK: Steps

  private func create(_ collection: String, _ body: JSONObject, verb: NetworkStep.Verb = .create) throws -> Credentials
  {
    steps.append(NetworkStep(verb: verb, collection: collection, body: body))
    count += 1
    if isRehearsal { return Credentials(identityID: NetworkStep.placeholder(mark, count - 1)) }
    guard let result = made.popFirst() else {
      throw ShareRefusal(409, "the share service changed in the meantime; try again")
    }
    return result
  }

  func createEnrolledIdentity(name: String, tags: JSONObject) throws -> Credentials {
    try create(
      NetworkCollection.identities,
      ["name": .string(name), "type": "User", "isAdmin": false, "enrollment": ["ott": true], "tags": .object(tags)],
      verb: .createEnrolled)
  }

  func issueCredentials(identity id: String) throws -> Credentials {
    throw ShareRefusal(
      500,
      "the file of the identity \(id) in the share service's directory is lost, and nobody can make it again; restore it from a backup"
    )
  }

  func createConfig(name: String, typeID: String, data: JSONObject, tags: JSONObject) throws -> String {
    try create(
      NetworkCollection.configs,
      ["name": .string(name), "configTypeId": .string(typeID), "data": .object(data), "tags": .object(tags)]
    ).identityID
  }

  func createService(name: String, configs: [String], tags: JSONObject) throws -> String {
    try create(
      NetworkCollection.services,
      ["name": .string(name), "configs": JSONValue(configs), "encryptionRequired": true, "tags": .object(tags)]
    ).identityID
  }

  func createServicePolicy(
    name: String, type: Provisioning.PolicyKind, identities: [String], service: String, tags: JSONObject
  ) throws -> String {
    try create(
      NetworkCollection.servicePolicies,
      [
        "name": .string(name), "type": .string(type.rawValue), "semantic": "AnyOf",
        "identityRoles": JSONValue(identities.map { "@" + $0 }),
        "serviceRoles": .array([.string("@" + service)]), "tags": .object(tags),
      ]
    ).identityID
  }

  func createEdgeRouterPolicy(name: String, identity: String, tags: JSONObject) throws -> String {
    try create(
      NetworkCollection.edgeRouterPolicies,
      [
        "name": .string(name), "semantic": "AllOf", "edgeRouterRoles": ["#all"],
        "identityRoles": .array([.string("@" + identity)]),
        "tags": .object(tags),
      ]
    ).identityID
  }

  func createServiceEdgeRouterPolicy(name: String, service: String, tags: JSONObject) throws -> String {
    try create(
      NetworkCollection.serviceEdgeRouterPolicies,
      [
        "name": .string(name), "semantic": "AllOf", "edgeRouterRoles": ["#all"],
        "serviceRoles": .array([.string("@" + service)]),
        "tags": .object(tags),
      ]
    ).identityID
  }

  func updateConfig(_ id: String, setting members: JSONObject) throws {
    steps.append(NetworkStep(verb: .merge, collection: NetworkCollection.configs, id: id, body: members))
  }

  private func delete(_ collection: String, _ id: String) {
    steps.append(NetworkStep(verb: .delete, collection: collection, id: id))
  }

  func deleteIdentity(_ id: String) throws { delete(NetworkCollection.identities, id) }
  func deleteService(_ id: String) throws { delete(NetworkCollection.services, id) }
  func deleteConfig(_ id: String) throws { delete(NetworkCollection.configs, id) }
  func deleteServicePolicy(_ id: String) throws { delete(NetworkCollection.servicePolicies, id) }
  func deleteEdgeRouterPolicy(_ id: String) throws { delete(NetworkCollection.edgeRouterPolicies, id) }
  func deleteServiceEdgeRouterPolicy(_ id: String) throws { delete(NetworkCollection.serviceEdgeRouterPolicies, id) }

  func deleteEdgeRouterPolicy(named name: String) throws {
    steps.append(NetworkStep(verb: .deleteNamed, collection: NetworkCollection.edgeRouterPolicies, id: name))
  }
}

extension NetworkStep {
  /// Stands for the id of what the nth creating step of a plan will make.
  static func placeholder(_ mark: String, _ index: Int) -> String { "\(mark).\(index)~" }

  /// The step with ids where the rehearsal had placeholders.
  func replacing(_ mark: String, _ ids: [String]) -> NetworkStep {
    func replaced(_ text: String) -> String {
      guard text.contains(mark) else { return text }
      var text = text
      for (index, id) in ids.enumerated() { text = text.replacing(Self.placeholder(mark, index), with: id) }
      return text
    }
    func replaced(_ value: JSONValue) -> JSONValue {
      switch value {
      case .string(let text): .string(replaced(text))
      case .array(let values): .array(values.map(replaced))
      case .object(let members): .object(members.mapValues(replaced))
      default: value
      }
    }
    return NetworkStep(verb: verb, collection: collection, id: replaced(id), body: body.mapValues(replaced))
  }
}

extension ProvisioningTransaction.Credentials {
  /// Of an entity that has none, or of one that is not there yet.
  init(identityID: String) {
    self.init(identityID: identityID, key: "", certificate: "", authorities: "", controllers: [])
  }

  init(identityID: String, _ file: IdentityFile) {
    self.init(
      identityID: identityID, key: file.key, certificate: file.certificate, authorities: file.authorities,
      controllers: file.controllers,
      trustDomain: file.trustDomain)
  }
}
