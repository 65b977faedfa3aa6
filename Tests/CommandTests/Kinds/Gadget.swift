import JSON
import Model

@testable import Controller

/// A kind that only the tests know: this file is all there is of it.
struct Gadget: DeclaredEntity {
  static let declaration = Kind<Gadget>(
    EntityKind(rawValue: "gadgets"), "gadget", aliases: ["g"],
    members: [
      .name(\.name),
      .word("color", \.color, ["Red", "Green"]) { Color(rawValue: $0) }
        .filterable().shown("Color").argument("Its color: Red or Green."),
      .number("weight", \.weight, in: 0...100, default: 1)
        .filterable().shown("Weight").option("Kilograms.", short: "w", value: "kg"),
      .attributes(\.roleAttributes).option("Role attributes.", short: "a", value: "a,b"),
      .reference("ownerId", \.ownerId, to: .identities, shownAs: "owner").createOnly().filterable(as: "owner")
        .indexed().shown("Owner").argument("Id or name of the identity that has it."),
    ],
    examples: (create: ["lamp Red alice --weight 3"], update: ["lamp --weight 4"]))

  enum Color: String, Codable, Sendable {
    case red = "Red"
    case green = "Green"
  }

  let id: String
  var createdAt = Timestamp.epoch
  var updatedAt = Timestamp.epoch
  var tags: JSONObject = [:]
  var isSystem = false

  var name = ""
  var color = Color.red
  var weight = 1
  var roleAttributes: [String] = []
  var ownerId = ""

  var uniqueName: String? { name }
}

extension Gadget: ManagedEntity {
  static func blank() -> Gadget { Gadget(id: EntityID.uuidBase62()) }
}
