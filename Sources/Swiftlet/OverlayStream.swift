public import NIOCore

/// A byte stream to the other side of a service, end-to-end encrypted where the service demands it.
///
/// One task may read while another writes. Each direction ends on its own: `finish` ends ours, `read` returns nil when
/// the peer ended theirs.
public final class OverlayStream: Sendable, AsyncSequence {
  public typealias Element = ByteBuffer

  /// Who dialled, as the host sees it.
  public struct Caller: Sendable, Equatable {
    /// The id of the dialling identity, proven by the network; nil where a router does not tell.
    public let identityID: String?
    /// Its name, proven by the network too.
    public let identityName: String?
    /// What the dialler says of itself: nobody has proven it.
    public let claimedName: String
    /// What the dialler handed over with the dial (``Overlay/DialOptions/appData``).
    public let appData: [UInt8]?
  }

  /// Bytes handed to the channel before we wait for it.
  private static let writeSize = 256 * 1024

  /// nil on the dialling side.
  public let caller: Caller?
  private let core: NIOLoopBound<StreamCore>

  /// On the connection's event loop.
  init(onLoop connection: OverlayConnection, caller: Caller?) {
    self.caller = caller
    let core = StreamCore(connection)
    self.core = NIOLoopBound(core, eventLoop: connection.eventLoop)
    connection.start(core)
  }

  static func make(_ connection: Overlay.BoundConnection, caller: Caller?) async throws -> OverlayStream {
    try await connection.eventLoop.submit { OverlayStream(onLoop: connection.value, caller: caller) }.get()
  }

  deinit {
    let core = self.core
    core.eventLoop.execute { core.value.close() }
  }

  /// Everything that arrived since the last call, waiting for the first byte.
  ///
  /// - Returns: nil when the peer ended its direction.
  /// - Throws: `OverlayError` when the connection broke, `concurrentReads` when another task is reading,
  ///   `CancellationError`.
  public func read() async throws -> ByteBuffer? {
    let core = self.core
    let promise = core.eventLoop.makePromise(of: ByteBuffer?.self)
    return try await withTaskCancellationHandler {
      core.eventLoop.execute { core.value.read(promise) }
      return try await promise.futureResult.get()
    } onCancel: {
      core.eventLoop.execute { core.value.cancelRead() }
    }
  }

  /// Sends bytes, and returns when there is room for more.
  /// - Throws: `OverlayError`, `closed` after `finish`; `CancellationError`.
  public func write(_ bytes: ByteBuffer) async throws {
    var rest = bytes
    let core = self.core
    while let part = rest.readSlice(length: Swift.min(Self.writeSize, rest.readableBytes)), part.readableBytes > 0 {
      try Task.checkCancellation()
      let promise = core.eventLoop.makePromise(of: Void.self)
      core.eventLoop.execute { core.value.write(part, promise) }
      try await promise.futureResult.get()
    }
  }

  /// The same for bytes that are in no `ByteBuffer`.
  /// - Throws: `OverlayError`, `closed` after `finish`; `CancellationError`.
  public func write(_ bytes: some Sequence<UInt8> & Sendable) async throws { try await write(ByteBuffer(bytes: bytes)) }

  /// Ends our direction: the peer reads everything written before, then the end. We can still read.
  /// - Throws: `OverlayError` when the connection has broken.
  public func finish() async throws {
    let core = self.core
    try await core.eventLoop.submit { try core.value.finish() }.get()
  }

  /// Ends both directions. What was written before still arrives.
  public func close() async {
    let core = self.core
    try? await core.eventLoop.submit { core.value.close() }.get()
  }

  /// What arrives, in the pieces in which ``read()`` gives it.
  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let stream: OverlayStream
    /// What ``read()`` returns.
    public mutating func next() async throws -> ByteBuffer? { try await stream.read() }
  }

  /// What arrives from now on; one iterator at a time.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }
}

/// The loop's side of a stream. A reader takes one batch at a time; while none waits, the connection keeps what comes.
private final class StreamCore: OverlayConnectionDelegate {
  private let connection: OverlayConnection
  private var reader: EventLoopPromise<ByteBuffer?>?
  private var batch: ByteBuffer?
  private var hasEnded = false
  private var failure: OverlayError?
  private var isClosed = false
  private var hasFinished = false
  private var writers: [EventLoopPromise<Void>] = []

  init(_ connection: OverlayConnection) {
    self.connection = connection
    connection.setReading(false)
  }

  func read(_ promise: EventLoopPromise<ByteBuffer?>) {
    guard reader == nil else { return promise.fail(OverlayError.concurrentReads) }
    if let batch {
      self.batch = nil
      return promise.succeed(batch)
    }
    if let failure { return promise.fail(failure) }
    if hasEnded { return promise.succeed(nil) }
    if isClosed { return promise.fail(OverlayError.closed) }
    reader = promise
    connection.setReading(true)
  }

  func cancelRead() {
    connection.setReading(false)
    reader?.fail(CancellationError())
    reader = nil
  }

  func write(_ bytes: ByteBuffer, _ promise: EventLoopPromise<Void>) {
    if let failure { return promise.fail(failure) }
    guard !isClosed, !hasFinished else { return promise.fail(OverlayError.closed) }
    connection.write(bytes)
    connection.flush()
    if connection.isWritable || !connection.isOpen { promise.succeed() } else { writers.append(promise) }
  }

  func finish() throws {
    if let failure { throw failure }
    hasFinished = true
    connection.finish()
  }

  func close() {
    isClosed = true
    connection.close()
    end(nil)
  }

  private func end(_ error: OverlayError?) {
    let waiting = writers
    writers = []
    for writer in waiting { writer.fail(error ?? .closed) }
    guard let reader else { return }
    self.reader = nil
    if let error { reader.fail(error) } else { reader.succeed(nil) }
  }

  // MARK: OverlayConnectionDelegate

  func received(_ bytes: ByteBuffer) {
    guard let reader else {
      if batch == nil { batch = bytes } else { batch?.writeImmutableBuffer(bytes) }
      return
    }
    self.reader = nil
    connection.setReading(false)
    reader.succeed(bytes)
  }

  func receivedEnd() {
    hasEnded = true
    guard let reader else { return }
    self.reader = nil
    reader.succeed(nil)
  }

  func becameWritable() {
    let waiting = writers
    writers = []
    for writer in waiting { writer.succeed() }
  }

  func closed(_ error: OverlayError?) {
    guard !isClosed else { return }
    isClosed = true
    failure = error
    if error == nil { hasEnded = true }
    end(error)
  }
}
