import JSON
import Model
import Store

/// One call of the management API that a change needs.
struct NetworkStep: Sendable, Codable, Equatable {
  enum Verb: String, Sendable, Codable {
    case create
    /// Creates an identity and enrolls it.
    case createEnrolled
    case delete
    /// Deletes what has the name that `id` says.
    case deleteNamed
    /// Sets members of a config's data.
    case merge
  }

  var verb: Verb
  /// Collection, as in URLs: `services`.
  var collection: String
  /// Of what is changed; empty for what is created.
  var id = ""
  var body: JSONObject = [:]

  var creates: Bool { verb == .create || verb == .createEnrolled }
}

/// A change that concerns the network, written down before its first call. Whatever ends the process, the next start
/// knows what is to be taken back, or to be brought to its end.
struct ShareJournalEntry: Entity {
  static let kind = EntityKind(rawValue: "share-journal")
  static let isIntent = false

  enum Phase: String, Sendable, Codable {
    /// Rows are not changed yet. What was created in the network carries the entry's id as a tag, and is deleted at
    /// replay.
    case creating
    /// Rows are changed. The steps are repeated at replay; each can be.
    case finishing
  }

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var phase: Phase
  var steps: [NetworkStep]

  /// The tag of what an entry creates.
  static let tag = "swiftletJournal"

  func validate() throws(ModelError) { try validateBase() }
}
