import NIOCore
import Synchronization
import WebRelay

/// Carries what happens on event loops to the screen. An event loop adds to a bounded buffer and goes on; all
/// formatting is the screen's.
final class RequestFeed: Sendable {
  /// A request that is over.
  struct Entry: Sendable, Equatable {
    var method: String
    var path: String
    var remote: String
    /// nil without an answer.
    var status: Int?
    var duration: TimeAmount
    /// Of the bodies.
    var bytesIn = 0
    var bytesOut = 0
    /// Why the server gave no whole answer.
    var failure: String?
  }

  /// What happened since the last look: the totals count everything, the entries are the latest, oldest first.
  struct Batch: Sendable {
    fileprivate(set) var entries: [Entry] = []
    fileprivate(set) var count = 0
    fileprivate(set) var bytesIn = 0
    fileprivate(set) var bytesOut = 0
    /// Where the ring begins once it is full.
    fileprivate var oldest = 0
  }

  /// Entries kept between two looks, and by the screen.
  static let capacity = 256

  private let pending = Mutex(Batch())

  func add(_ entry: Entry) {
    pending.withLock { batch in
      batch.count += 1
      batch.bytesIn += entry.bytesIn
      batch.bytesOut += entry.bytesOut
      if batch.entries.count < Self.capacity {
        batch.entries.append(entry)
      } else {
        batch.entries[batch.oldest] = entry
        batch.oldest = (batch.oldest + 1) % Self.capacity
      }
    }
  }

  /// Takes what is there; nil when nothing happened.
  func take() -> Batch? {
    var batch = pending.withLock { pending in
      let taken = pending
      pending = Batch()
      return taken
    }
    guard batch.count > 0 else { return nil }
    batch.entries = Array(batch.entries[batch.oldest...] + batch.entries[..<batch.oldest])
    batch.oldest = 0
    return batch
  }
}

extension RequestFeed.Entry {
  init(_ record: RequestRecord) {
    self.init(
      method: record.method, path: record.path, remote: record.remoteAddress,
      status: record.status == 0 ? nil : record.status,
      duration: record.duration, bytesIn: record.bytesIn, bytesOut: record.bytesOut, failure: record.failure)
  }

  var milliseconds: String {
    let tenths = (Double(duration.nanoseconds) / 1e5).rounded() / 10
    return "\(tenths) ms"
  }

  var statusText: String { status.map(String.init) ?? "---" }

  var statusStyle: Terminal.Style {
    switch status ?? 599 {
    case 500...: .red
    case 400...: .yellow
    default: .green
    }
  }
}
