import NIOCore
import Wire

/// What a hosting SDK asked for and is not under way yet: a gateway that starts binds thousands of services in one
/// burst, and each of them is judged, and then made known to the controller. Some go at a time, in turn; those that are
/// to be made known go first, for they are what the SDK waits for. A bind that is taken back before it was accepted is
/// none.
struct HostingQueue {
  struct Bind: Sendable {
    let request: EdgeMessages.Bind
    let sequence: Int32
    let place: IdentityShare.Ticket
    /// Bytes that it holds while it waits.
    let cost: Int
    /// In the order in which they came.
    fileprivate(set) var number: UInt64 = 0

    init(request: EdgeMessages.Bind, sequence: Int32, place: IdentityShare.Ticket, cost: Int) {
      self.request = request
      self.sequence = sequence
      self.place = place
      self.cost = cost
    }
  }

  enum Work {
    case bind(Bind)
    /// Of the terminator with this id.
    case establish(String)
  }

  /// What goes at a time. A judgement is quick; making known takes the controller's round trip.
  private static let parallel = 64
  /// Bytes that a waiting bind holds beside those of its message.
  static let overhead = 512

  private var binds = CircularBuffer<Bind>()
  private var unknown = CircularBuffer<String>()
  /// Of the binds that wait or are judged, by the id of their listener: how many there are, and the last one that was
  /// taken back.
  private var open: [UInt32: (count: Int, withdrawn: UInt64)] = [:]
  private var last: UInt64 = 0
  private var running = 0

  var waitingBinds: Int { binds.count }

  mutating func add(_ bind: Bind) {
    last += 1
    var bind = bind
    bind.number = last
    binds.append(bind)
    open[bind.request.connID, default: (0, 0)].count += 1
  }

  mutating func establish(_ terminator: String) { unknown.append(terminator) }

  /// The SDK closed a listener: what it asked for before that and is not accepted yet is not done.
  mutating func withdraw(_ connID: UInt32) { open[connID]?.withdrawn = last }

  /// A bind was judged. - Returns: whether it still counts.
  mutating func settle(_ bind: Bind) -> Bool {
    guard let (count, withdrawn) = open[bind.request.connID] else { return false }
    open[bind.request.connID] = count > 1 ? (count - 1, withdrawn) : nil
    return bind.number > withdrawn
  }

  /// - Parameter drop: takes what was withdrawn.
  /// - Returns: what to begin with now; `ended` is called once for it, and for a bind `settle`.
  mutating func next(_ drop: (Bind) -> Void) -> Work? {
    guard running < Self.parallel else { return nil }
    if let id = unknown.popFirst() {
      running += 1
      return .establish(id)
    }
    while let bind = binds.popFirst() {
      guard bind.number > open[bind.request.connID]?.withdrawn ?? 0 else {
        _ = settle(bind)
        drop(bind)
        continue
      }
      running += 1
      return .bind(bind)
    }
    return nil
  }

  mutating func ended() { running -= 1 }

  mutating func takeAll() -> CircularBuffer<Bind> {
    defer { self = HostingQueue() }
    return binds
  }
}
