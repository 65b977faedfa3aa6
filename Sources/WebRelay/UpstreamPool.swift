import NIOCore
import Synchronization

/// Connections to upstreams that wait for their next request, by event loop and key. What belongs to a loop is touched
/// on that loop only; the lock is for finding a loop's part, once per connection.
public final class UpstreamPool: Sendable {
  /// Idle connections of one key on one loop, and how long they are kept.
  private static let perKey = 100
  private static let lifetime = TimeAmount.seconds(90)

  private let shelves = Mutex<[ObjectIdentifier: NIOLoopBound<Shelf>]>([:])

  public init() {}

  final class Shelf {
    fileprivate var idle: [String: [UpstreamHandler]] = [:]

    /// The connection that was used last: the others may grow old.
    func take(_ key: String) -> UpstreamHandler? {
      while let handler = idle[key]?.popLast() {
        if idle[key]?.isEmpty ?? false { idle[key] = nil }
        if handler.leaveShelf() { return handler }
      }
      return nil
    }

    func put(_ handler: UpstreamHandler, _ key: String) {
      guard idle[key]?.count ?? 0 < UpstreamPool.perKey else { return handler.close() }
      idle[key, default: []].append(handler)
      handler.stayOnShelf(for: UpstreamPool.lifetime) { [weak self, weak handler] in
        self?.idle[key]?.removeAll { $0 === handler }
        if self?.idle[key]?.isEmpty ?? false { self?.idle[key] = nil }
      }
    }
  }

  /// On `loop`.
  func shelf(_ loop: any EventLoop) -> Shelf {
    shelves.withLock { shelves in
      let key = ObjectIdentifier(loop)
      if let shelf = shelves[key] { return shelf }
      let made = NIOLoopBound(Shelf(), eventLoop: loop)
      shelves[key] = made
      return made
    }.value
  }
}
