public import JSON
public import Model

/// Who changed something and through what.
public struct ChangeContext: Sendable, Codable, Equatable {
  /// Where the change came from: `rest`, `system`, `router`, `enrollment`, ...
  public var source: String
  public var authorID: String
  public var authorName: String
  public var requestID: String
  /// The API session it came through, which does not end with a password that it changes.
  public var apiSessionID: String?

  public init(
    authorID: String = "", authorName: String = "", source: String, requestID: String = "", apiSessionID: String? = nil
  ) {
    self.authorID = authorID
    self.authorName = authorName
    self.source = source
    self.requestID = requestID
    self.apiSessionID = apiSessionID
  }

  /// The controller itself.
  public static func system(_ authorName: String = "controller") -> ChangeContext {
    ChangeContext(authorName: authorName, source: "system")
  }
}

/// One change of one entity. `before` and `after` are documents without their secret members.
public struct Change: Sendable, Codable, Equatable {
  public enum Action: String, Sendable, Codable { case create, update, delete }

  public var kind: EntityKind
  public var id: String
  public var action: Action
  public var before: JSONValue?
  public var after: JSONValue?

  public init(kind: EntityKind, id: String, action: Action, before: JSONValue? = nil, after: JSONValue? = nil) {
    self.kind = kind
    self.id = id
    self.action = action
    self.before = before
    self.after = after
  }
}

/// What one transaction changed of the intent. Indexes run from 1 without gaps within a timeline.
public struct ChangeSet: Sendable, Codable, Equatable {
  public var index: UInt64
  public var previousIndex: UInt64
  public var timelineID: String
  public var at: Timestamp
  public var context: ChangeContext
  public var changes: [Change]

  public init(
    index: UInt64, previousIndex: UInt64, timelineID: String, at: Timestamp, context: ChangeContext, changes: [Change]
  ) {
    self.index = index
    self.previousIndex = previousIndex
    self.timelineID = timelineID
    self.at = at
    self.context = context
    self.changes = changes
  }
}
