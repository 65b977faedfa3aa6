import NIOCore
import Synchronization

/// Something that is being hosted; stopping it ends the offer, not the connections that came of it.
package final class Hosting: Sendable {
  let id: UInt64
  private let task: Task<Void, Never>

  init(_ id: UInt64, _ body: @escaping @Sendable () async -> Void) {
    self.id = id
    task = Task { await body() }
  }

  deinit { task.cancel() }

  func stop() async {
    task.cancel()
    await task.value
  }
}

extension OverlayStream.Caller {
  init(_ dial: IncomingDial) {
    self.init(
      identityID: dial.caller.identityID, identityName: dial.caller.identityName, claimedName: dial.caller.claimedName,
      appData: dial.caller.appData)
  }
}

/// A hosted service: a sequence of the streams that diallers open.
public final class OverlayListener: Sendable, AsyncSequence {
  public typealias Element = OverlayStream

  /// Diallers that wait to be taken; further ones are refused.
  private static let backlog = 1024

  /// The name of what is hosted.
  public let service: String
  private let streams: AsyncStream<OverlayStream>
  private let continuation: AsyncStream<OverlayStream>.Continuation
  private let hosting = Mutex<Hosting?>(nil)
  private let waiting = Atomic<Int>(0)

  init(service: String) {
    self.service = service
    (streams, continuation) = AsyncStream.makeStream()
  }

  func attach(_ hosting: Hosting) { self.hosting.withLock { $0 = hosting } }

  /// On an event loop.
  func offered(_ dial: IncomingDial) {
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.backlog else {
      waiting.subtract(1, ordering: .relaxed)
      return dial.reject("the host is too busy")
    }
    guard let connection = dial.accept() else {
      waiting.subtract(1, ordering: .relaxed)
      return
    }
    let stream = OverlayStream(onLoop: connection, caller: OverlayStream.Caller(dial))
    if case .terminated = continuation.yield(stream) { connection.close() }
  }

  /// Ends the offer. Streams that were taken live on.
  public func close() async {
    continuation.finish()
    let hosting = hosting.withLock { hosting in
      defer { hosting = nil }
      return hosting
    }
    await hosting?.stop()
  }

  /// The diallers one after the other.
  public struct AsyncIterator: AsyncIteratorProtocol {
    private let listener: OverlayListener
    private var iterator: AsyncStream<OverlayStream>.Iterator

    fileprivate init(_ listener: OverlayListener) {
      self.listener = listener
      iterator = listener.streams.makeAsyncIterator()
    }

    /// The next dialler; nil when the listener was closed.
    public mutating func next() async throws -> OverlayStream? {
      guard let stream = await iterator.next() else { return nil }
      listener.waiting.subtract(1, ordering: .relaxed)
      return stream
    }
  }

  /// The diallers from now on; each is given to one iterator only.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}
