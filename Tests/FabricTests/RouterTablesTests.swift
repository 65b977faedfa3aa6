import Fabric
import SwiftProtobuf
import Testing
import WireSchemas

@Suite("Sessions known to a router")
struct SessionTableTests {
  private func added(_ ids: String..., full: Bool = false) -> EdgeCtrlApiSessionAdded {
    .with {
      $0.isFullState = full
      $0.apiSessions = ids.map { id in
        .with { ($0.id, $0.token, $0.identityID, $0.certFingerprints) = (id, "t-\(id)", "i-\(id)", ["f"]) }
      }
    }
  }

  @Test("a complete state in chunks ends the sessions it does not have, but none that came meanwhile")
  func fullState() {
    var table = SessionTable()
    #expect(table.add(added("old"), syncID: nil, isLast: false).isEmpty)
    #expect(table.add(added("a", full: true), syncID: "s1", isLast: false).isEmpty)
    #expect(table.add(added("late"), syncID: nil, isLast: false).isEmpty)
    #expect(table.add(added("b", full: true), syncID: "s1", isLast: true) == ["t-old"])
    #expect(table.count == 3 && table["t-late"] != nil && table["t-old"] == nil)
  }

  @Test("sessions end by token and by id; certificates are added")
  func changes() {
    var table = SessionTable()
    _ = table.add(added("a", "b"), syncID: nil, isLast: false)
    table.update(
      .with {
        $0.apiSessions = [
          .with { ($0.id, $0.token, $0.identityID, $0.certFingerprints) = ("a", "t-a", "i-a", ["f", "g"]) }
        ]
      })
    #expect(table["t-a"]?.fingerprints == ["f", "g"])
    #expect(table.remove(.with { ($0.tokens, $0.ids) = (["t-a", "unknown"], ["b"]) }) == ["t-a", "t-b"])
    #expect(table.count == 0)
  }
}

@Suite("Forwarding of circuits")
struct ForwardingTableTests {
  private func route(egress: Bool = true) -> CtrlRoute {
    .with {
      $0.circuitID = "c"
      $0.tags = ["serviceId": "svc", "clientId": "alice", "hostId": "bob"]
      if egress { $0.egress = .with { ($0.binding, $0.address, $0.destination) = ("edge", "out", "term") } }
      $0.forwards = [
        .with { ($0.srcAddress, $0.dstAddress, $0.dstType) = ("in", "out", .end) },
        .with { ($0.srcAddress, $0.dstAddress, $0.dstType) = ("out", "in", .start) },
      ]
    }
  }

  @Test("payload finds its end by circuit and source")
  func destinations() throws {
    var table = ForwardingTable<Int>()
    try table.apply(route())
    #expect(table.destination(from: "in", circuit: "c") == nil)
    #expect(table.attach(1, at: "out", circuit: "c") == true)
    #expect(table.attach(2, at: "in", circuit: "c") == true)
    #expect(table.destination(from: "in", circuit: "c") == 1)
    #expect(table.destination(from: "out", circuit: "c") == 2)
    #expect(table.destination(from: "out", circuit: "d") == nil)
    #expect(table["c"]?.clientID == "alice" && table["c"]?.hostID == "bob" && table["c"]?.serviceID == "svc")
    #expect(table.remove("c")?.attached == [2, 1])
    #expect(table.attach(1, at: "out", circuit: "c") == false)
  }

  @Test("circuits are found by the identities of both ends and by service, until they end or change hands")
  func indexed() throws {
    var table = ForwardingTable<Int>()
    try table.apply(route())
    #expect(
      table.circuits(of: ["alice"], []) == ["c"] && table.circuits(of: ["bob"], []) == ["c"]
        && table.circuits(of: [], ["svc"]) == ["c"])
    #expect(table.circuits(of: ["carol"], ["other"]).isEmpty)
    var moved = route()
    moved.tags["hostId"] = "carol"
    try table.apply(moved)
    #expect(table.circuits(of: ["bob"], []).isEmpty && table.circuits(of: ["carol"], []) == ["c"])
    table.remove("c")
    #expect(table.circuits(of: ["alice", "bob", "carol"], ["svc"]).isEmpty)
  }

  @Test("a route to an end that is not here, or over a link, is refused and leaves nothing")
  func unknown() {
    var table = ForwardingTable<Int>()
    #expect(throws: ForwardingTable<Int>.RouteError.unknownDestination("out")) { try table.apply(route(egress: false)) }
    var linked = route()
    linked.forwards = [.with { ($0.srcAddress, $0.dstAddress, $0.dstType) = ("in", "l1", .link) }]
    #expect(throws: ForwardingTable<Int>.RouteError.unknownDestination("l1")) { try table.apply(linked) }
    #expect(table.count == 0)
  }
}

@Suite("Terminators of hosts on a router")
struct HostedTerminatorsTests {
  private func bind(
    _ id: String, on connection: Int = 1, connID: UInt32 = 1, service: String = "svc", listener: [UInt8]? = [9],
    token: [UInt8] = [1]
  )
    -> HostedTerminators<Int>.Hosted
  {
    HostedTerminators<Int>.Hosted(
      id: id, connection: connection, connID: connID, identityID: "bob", serviceID: service, sessionID: "s",
      token: token, instance: "",
      listenerID: listener)
  }

  @Test("a listener that binds again keeps its terminator id")
  func rebind() {
    var table = HostedTerminators<Int>()
    #expect(table.bind(bind("t1")) == .new(bind("t1")))
    #expect(table.bind(bind("t2")) == .duplicate(bind("t1")))
    #expect(table.bind(bind("t2", on: 2)) == .replaces(bind("t1", on: 2), old: bind("t1")))
    #expect(table["t1"]?.connection == 2 && table.count == 1)
    #expect(table.bind(bind("t3", on: 2, connID: 0)) == .stale)
    #expect(
      table.bind(bind("t4", on: 2, connID: 8, token: [2]))
        == .replaces(bind("t1", on: 2, connID: 8, token: [2]), old: bind("t1", on: 2)))
  }

  @Test("another service of the same listener is another terminator; without listener the token tells")
  func keys() {
    var table = HostedTerminators<Int>()
    _ = table.bind(bind("t1"))
    #expect(
      table.bind(bind("t2", on: 2, service: "other")) == .replaces(bind("t2", on: 2, service: "other"), old: bind("t1"))
    )
    #expect(table["t1"] == nil)
    #expect(table.bind(bind("t3", listener: nil)) == .new(bind("t3", listener: nil)))
    #expect(table.bind(bind("t4", listener: nil, token: [2])) == .new(bind("t4", listener: nil, token: [2])))
    #expect(table.of(1).map(\.id).sorted() == ["t3", "t4"])
    #expect(table.remove("t3") != nil)
    #expect(table.bind(bind("t5", listener: nil)) == .new(bind("t5", listener: nil)))
  }
}
