public import NIOCore
import Synchronization

/// A connection of the overlay as a SwiftNIO channel: whatever NIO has handlers for, HTTP, WebSocket, gRPC, runs over
/// it as over a socket.
///
/// Bytes come and go as `ByteBuffer`. `autoRead` and `isWritable` carry back-pressure across the overlay to the other
/// end. With `ChannelOptions.allowRemoteHalfClosure` the end of the peer's direction arrives as
/// `ChannelEvent.inputClosed`, otherwise it closes the channel; `close(mode: .output)` ends ours. A connection that
/// breaks shows as `OverlayError` in `errorCaught`.
///
/// Make one with ``Overlay/channel(to:options:on:initializer:)`` or ``Overlay/serve(_:options:initializer:)``.
// Unchecked: everything but the two atomics is touched on `eventLoop` only, which NIO guarantees for all calls of
// `ChannelCore` and the connection for those of its delegate; what any thread may read (`pipeline`, `closeFuture`) is
// set in the initialiser and never again.
public final class OverlayChannel: Channel, ChannelCore, OverlayConnectionDelegate, @unchecked Sendable {
  private static let windowedWaterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 64 * 1024, high: 256 * 1024)
  private static let defaultWaterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 512 * 1024, high: 1024 * 1024)

  public let eventLoop: any EventLoop
  public let allocator = ByteBufferAllocator()
  public let parent: (any Channel)? = nil
  private let connection: OverlayConnection
  private let closePromise: EventLoopPromise<Void>
  private let active = Atomic<Bool>(false)
  private let writable = Atomic<Bool>(true)
  private var madePipeline: ChannelPipeline?
  private var autoRead = true
  private var allowsHalfClosure = false
  private var waterMark = OverlayChannel.defaultWaterMark
  private var wantsRead = false
  private var pending: CircularBuffer<(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)> = []
  private var pendingBytes = 0
  /// How many of the writes that wait were flushed.
  private var flushed = 0
  /// nil where the other end knows no flow control of its own.
  private var window: OverlayWindow?
  /// Our direction ends as soon as everything has left.
  private var endsOutput = false
  private var isDelivering = false
  /// What the connection told while the reader had not taken everything.
  private var endArrived = false
  private var lateEnd: OverlayError??
  private var inputEnded = false
  private var outputEnded = false
  private var isClosed = false

  private init(_ connection: OverlayConnection, isWindowed: Bool) {
    self.connection = connection
    if isWindowed {
      window = OverlayWindow()
      waterMark = Self.windowedWaterMark
    }
    eventLoop = connection.eventLoop
    closePromise = connection.eventLoop.makePromise()
    connection.setReading(false)
    madePipeline = ChannelPipeline(channel: self)
  }

  /// On the connection's event loop: sets the pipeline up, then lets bytes flow.
  static func open(
    _ connection: OverlayConnection, isWindowed: Bool = false,
    _ initializer: @Sendable (any Channel) -> EventLoopFuture<Void>
  ) -> EventLoopFuture<any Channel> {
    let channel = OverlayChannel(connection, isWindowed: isWindowed)
    let opened = initializer(channel).hop(to: channel.eventLoop)
    opened.assumeIsolated().whenComplete { result in
      if case .failure(let error) = result { channel.end(error) } else { channel.activate() }
    }
    return opened.map { channel }
  }

  private func activate() {
    guard !isClosed else { return }
    pipeline.fireChannelRegistered()
    active.store(true, ordering: .relaxed)
    pipeline.fireChannelActive()
    guard !isClosed else { return }
    // What the other end may send is bounded by the window: it is always taken from the channel that others use too.
    if window != nil { connection.setReading(true) }
    connection.start(self)
    if autoRead, !isClosed { pipeline.read() }
  }

  // MARK: Channel

  public var closeFuture: EventLoopFuture<Void> { closePromise.futureResult }
  public var pipeline: ChannelPipeline {
    // Made in the initialiser, where `self` must be complete already.
    guard let madePipeline else { preconditionFailure("a channel without pipeline") }
    return madePipeline
  }
  public var localAddress: SocketAddress? { nil }
  public var remoteAddress: SocketAddress? { nil }
  public var isActive: Bool { active.load(ordering: .relaxed) }
  public var isWritable: Bool { writable.load(ordering: .relaxed) }
  public var _channelCore: any ChannelCore { self }

  public func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
    if eventLoop.inEventLoop { return eventLoop.makeCompletedFuture { try set(option, value) } }
    return eventLoop.submit { try self.set(option, value) }
  }

  public func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
    if eventLoop.inEventLoop { return eventLoop.makeCompletedFuture { try get(option) } }
    return eventLoop.submit { try self.get(option) }
  }

  public var syncOptions: (any NIOSynchronousChannelOptions)? { SyncOptions(channel: self) }

  private struct SyncOptions: NIOSynchronousChannelOptions {
    let channel: OverlayChannel
    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
      try channel.set(option, value)
    }
    func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value { try channel.get(option) }
  }

  private func set<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws {
    eventLoop.preconditionInEventLoop()
    switch (option, value) {
    case (is ChannelOptions.Types.AutoReadOption, let value as Bool):
      let before = autoRead
      autoRead = value
      if value, !before, isActive { pipeline.read() }
      if !value {
        // As sockets do: what was asked for is not wanted any more.
        wantsRead = false
        if window == nil { connection.setReading(false) }
      }
    case (is ChannelOptions.Types.AllowRemoteHalfClosureOption, let value as Bool): allowsHalfClosure = value
    case (is ChannelOptions.Types.WriteBufferWaterMarkOption, let value as ChannelOptions.Types.WriteBufferWaterMark):
      waterMark = value
    default: throw ChannelError.operationUnsupported
    }
  }

  private func get<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
    eventLoop.preconditionInEventLoop()
    let value: Any
    switch option {
    case is ChannelOptions.Types.AutoReadOption: value = autoRead
    case is ChannelOptions.Types.AllowRemoteHalfClosureOption: value = allowsHalfClosure
    case is ChannelOptions.Types.WriteBufferWaterMarkOption: value = waterMark
    case is ChannelOptions.Types.BufferedWritableBytesOption: value = pendingBytes
    default: throw ChannelError.operationUnsupported
    }
    guard let typed = value as? Option.Value else { throw ChannelError.operationUnsupported }
    return typed
  }

  // MARK: ChannelCore

  public func localAddress0() throws -> SocketAddress { throw ChannelError.operationUnsupported }
  public func remoteAddress0() throws -> SocketAddress { throw ChannelError.operationUnsupported }
  public func register0(promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }
  public func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) {
    promise?.fail(ChannelError.operationUnsupported)
  }
  public func bind0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
    promise?.fail(ChannelError.operationUnsupported)
  }
  public func connect0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
    promise?.fail(ChannelError.operationUnsupported)
  }
  public func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
    promise?.fail(ChannelError.operationUnsupported)
  }
  public func channelRead0(_ data: NIOAny) {}
  public func errorCaught0(error: any Error) {}

  public func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isClosed else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    guard !outputEnded else {
      promise?.fail(ChannelError.outputClosed)
      return
    }
    let bytes = unwrapData(data, as: ByteBuffer.self)
    pending.append((bytes, promise))
    pendingBytes += bytes.readableBytes
    if pendingBytes > waterMark.high { change(writable: false) }
  }

  public func flush0() {
    guard !isClosed, !pending.isEmpty else { return }
    flushed = pending.count
    handOver()
    guard !isClosed else { return }
    change(writable: mayWrite)
  }

  private var mayWrite: Bool { connection.isWritable && pendingBytes <= waterMark.high }

  /// Gives everything that was written to the connection, in one flush. The promises' callbacks may write again.
  private func handOver() {
    // A connection that broke tells so when its reader has taken what came before; until then nothing can be sent.
    guard connection.isOpen else { return failPending(ChannelError.ioOnClosedChannel) }
    if window != nil { return handOverWindowed() }
    let writes = pending
    pending = []
    pendingBytes = 0
    flushed = 0
    for write in writes { connection.write(write.bytes) }
    connection.flush()
    for write in writes { write.promise?.succeed() }
  }

  /// As much as the other end has room for.
  private func handOverWindowed() {
    var frames = ByteBuffer()
    var done: [EventLoopPromise<Void>?] = []
    while flushed > 0, let credit = window?.credit, var write = pending.first {
      guard credit > 0 || write.bytes.readableBytes == 0 else { break }
      let before = write.bytes.readableBytes
      window?.send(&write.bytes, to: &frames)
      pendingBytes -= before - write.bytes.readableBytes
      guard write.bytes.readableBytes == 0 else {
        pending[pending.startIndex] = write
        break
      }
      pending.removeFirst()
      flushed -= 1
      done.append(write.promise)
    }
    let ends = endsOutput && pending.isEmpty
    if ends {
      endsOutput = false
      window?.end(&frames)
    }
    if frames.readableBytes > 0 {
      connection.write(frames)
      connection.flush()
    }
    for promise in done { promise?.succeed() }
    if ends { closeIfDone() }
  }

  public func read0() {
    guard !isClosed, !wantsRead else { return }
    wantsRead = true
    if window != nil { return deliverWindowed() }
    // May deliver at once.
    connection.setReading(true)
  }

  public func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    guard !isClosed else {
      promise?.fail(ChannelError.alreadyClosed)
      return
    }
    switch mode {
    case .all:
      if let promise { closeFuture.cascade(to: promise) }
      connection.close()
      // Told by the connection where it was still open.
      end(nil)
    case .output:
      guard !outputEnded else {
        promise?.fail(ChannelError.outputClosed)
        return
      }
      outputEnded = true
      flushed = pending.count
      endsOutput = window != nil
      handOver()
      if window == nil { connection.finish() }
      promise?.succeed()
      guard !isClosed else { return }
      pipeline.fireUserInboundEventTriggered(ChannelEvent.outputClosed)
      closeIfDone()
    case .input: promise?.fail(ChannelError.operationUnsupported)
    }
  }

  private func closeIfDone() {
    if inputEnded, outputEnded, pending.isEmpty, !endsOutput, !isClosed {
      close0(error: ChannelError.eof, mode: .all, promise: nil)
    }
  }

  private func change(writable now: Bool) {
    guard now != isWritable else { return }
    writable.store(now, ordering: .relaxed)
    pipeline.fireChannelWritabilityChanged()
  }

  /// The channel's last moments, once.
  private func end(_ error: (any Error)?) {
    guard !isClosed else { return }
    isClosed = true
    let wasActive = active.exchange(false, ordering: .relaxed)
    connection.close()
    window?.release()
    failPending(error ?? ChannelError.ioOnClosedChannel)
    if let error { pipeline.fireErrorCaught(error) }
    if wasActive {
      pipeline.fireChannelInactive()
      pipeline.fireChannelUnregistered()
    }
    eventLoop.execute {
      // Breaks the circle of channel and pipeline.
      self.removeHandlers(pipeline: self.pipeline)
      self.closePromise.succeed()
    }
  }

  // MARK: OverlayConnectionDelegate

  package func received(_ bytes: ByteBuffer) {
    guard window == nil else { return receivedWindowed(bytes) }
    wantsRead = false
    connection.setReading(false)
    pipeline.fireChannelRead(bytes)
    guard !isClosed else { return }
    pipeline.fireChannelReadComplete()
    if autoRead, !isClosed { pipeline.read() }
  }

  private func receivedWindowed(_ bytes: ByteBuffer) {
    var bytes = bytes
    do {
      if try window?.receive(&bytes) == true, flushed > 0 || endsOutput {
        handOver()
        guard !isClosed else { return }
        change(writable: mayWrite)
      }
    } catch {
      return end(OverlayError.protocolViolation("the other end sends more than there is room for"))
    }
    deliverWindowed()
  }

  /// Gives the reader what it asked for, and tells the other end of the room that this makes.
  private func deliverWindowed() {
    guard !isDelivering else { return }
    isDelivering = true
    defer { isDelivering = false }
    while wantsRead, !isClosed, let bytes = window?.take() {
      wantsRead = false
      if let frame = window?.grant(), connection.isOpen {
        connection.write(frame)
        connection.flush()
      }
      pipeline.fireChannelRead(bytes)
      guard !isClosed else { return }
      pipeline.fireChannelReadComplete()
      if autoRead, !isClosed { pipeline.read() }
    }
    guard window?.hasData != true, !isClosed else { return }
    if endArrived || window?.isEnded == true { inputEnd() }
    if let late = lateEnd {
      lateEnd = nil
      end(late)
    }
  }

  package func receivedEnd() {
    guard !isClosed else { return }
    guard window?.hasData != true else {
      endArrived = true
      return
    }
    inputEnd()
  }

  private func inputEnd() {
    guard !isClosed, !inputEnded else { return }
    inputEnded = true
    guard allowsHalfClosure else { return close0(error: ChannelError.eof, mode: .all, promise: nil) }
    pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    closeIfDone()
  }

  package func becameWritable() { if !isClosed { change(writable: mayWrite) } }

  package func closed(_ error: OverlayError?) {
    guard window?.hasData == true, !isClosed else { return end(error) }
    // What came is still read, however long the reader takes; nothing leaves any more, and whoever has no use for a
    // peer that cannot be answered is told so.
    lateEnd = .some(error)
    failPending(error ?? ChannelError.ioOnClosedChannel)
    guard !outputEnded else { return }
    outputEnded = true
    pipeline.fireUserInboundEventTriggered(ChannelEvent.outputClosed)
  }

  private func failPending(_ error: any Error) {
    let writes = pending
    pending = []
    pendingBytes = 0
    flushed = 0
    endsOutput = false
    for write in writes { write.promise?.fail(error) }
  }
}

/// A service that is being hosted, each of its diallers as a channel.
public final class OverlayServer: Sendable {
  private let overlay: Overlay
  private let hosting: Hosting

  init(_ overlay: Overlay, _ hosting: Hosting) {
    self.overlay = overlay
    self.hosting = hosting
  }

  /// Ends the offer. Channels that are open live on.
  public func close() async { await overlay.stop(hosting) }
}

extension Overlay {
  /// Connects to a service, as a channel on an event loop of your choice.
  ///
  /// - Parameters:
  ///   - service: its name.
  ///   - options: how it is dialled.
  ///   - loop: the event loop of the channel.
  ///   - initializer: sets up the pipeline, before the first byte is read.
  /// - Returns: the channel, or the `OverlayError` that ``dial(_:options:)`` throws.
  public nonisolated func channel(
    to service: String, options: DialOptions = DialOptions(), on loop: any EventLoop,
    initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
  ) -> EventLoopFuture<any Channel> {
    loop.makeFutureWithTask { try await self.connect(service, options: options, on: loop) }
      .flatMap { OverlayChannel.open($0.value, isWindowed: options.isWindowed, initializer) }
  }

  /// Offers a service; each dialler becomes a channel. Returns when the first router took the offer, and registers
  /// again by itself wherever it must.
  ///
  /// - Parameters:
  ///   - service: its name.
  ///   - options: how it is hosted.
  ///   - initializer: sets up the pipeline of a channel, before the first byte is read; gets to know who dialled.
  /// - Throws: what ``listen(_:options:)`` throws.
  public func serve(
    _ service: String, options: ListenOptions = ListenOptions(),
    initializer: @escaping @Sendable (any Channel, OverlayStream.Caller?) -> EventLoopFuture<Void>
  ) async throws -> OverlayServer {
    let hosting = try await host(service, options: options) { dial in
      guard let connection = dial.accept() else { return }
      let caller = OverlayStream.Caller(dial)
      _ = OverlayChannel.open(connection, isWindowed: dial.caller.appData == OverlayWindow.appData) {
        initializer($0, caller)
      }
    }
    return OverlayServer(self, hosting)
  }
}
