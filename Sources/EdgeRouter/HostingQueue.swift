import NIOCore
import Wire

/// What a hosting SDK asked for and is not under way yet: a gateway that starts binds thousands of services in one burst, and each of them is judged, and then made known to the
/// controller. Some go at a time, in turn; those that are to be made known go first, for they are what the SDK waits for.
struct HostingQueue {
  struct Bind {
    let request: EdgeMessages.Bind
    let sequence: Int32
    let place: IdentityShare.Ticket
    /// Bytes that it holds while it waits.
    let cost: Int
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
  /// Of the binds that wait, by the id of their listener: how many there are, and how many of them were taken back.
  private var waiting: [UInt32: (all: Int, withdrawn: Int)] = [:]
  private var running = 0

  var waitingBinds: Int { binds.count }

  mutating func add(_ bind: Bind) {
    binds.append(bind)
    waiting[bind.request.connID, default: (0, 0)].all += 1
  }

  mutating func establish(_ terminator: String) { unknown.append(terminator) }

  /// The SDK closed a listener: what it asked for before that and was not looked at is not done.
  mutating func withdraw(_ connID: UInt32) {
    if let all = waiting[connID]?.all { waiting[connID]?.withdrawn = all }
  }

  /// - Parameter drop: takes what was withdrawn.
  /// - Returns: what to begin with now; `ended` is called once for it.
  mutating func next(_ drop: (Bind) -> Void) -> Work? {
    guard running < Self.parallel else { return nil }
    if let id = unknown.popFirst() {
      running += 1
      return .establish(id)
    }
    while let bind = binds.popFirst() {
      let counts = waiting[bind.request.connID] ?? (1, 0)
      waiting[bind.request.connID] = counts.all > 1 ? (counts.all - 1, max(0, counts.withdrawn - 1)) : nil
      guard counts.withdrawn == 0 else {
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
