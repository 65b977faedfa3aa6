import NIOConcurrencyHelpers
import NIOCore
public import Wire

/// Messages of a channel that are not replies, for its one consumer. What waits for it is counted in bytes: beyond a
/// limit nothing further is read from the peer.
public struct InboundMessages: AsyncSequence, Sendable {
  public typealias Element = Message
  typealias Producer = NIOAsyncSequenceProducer<Message, Strategy, MessageDemand>

  /// Elements say nothing about memory; `MessageDemand` counts.
  struct Strategy: NIOAsyncSequenceProducerBackPressureStrategy {
    mutating func didYield(bufferDepth: Int) -> Bool { true }
    mutating func didConsume(bufferDepth: Int) -> Bool { true }
  }

  let sequence: Producer
  let demand: MessageDemand

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: sequence.makeAsyncIterator(), demand: demand) }

  public struct AsyncIterator: AsyncIteratorProtocol {
    let base: Producer.AsyncIterator
    let demand: MessageDemand

    public mutating func next() async -> Message? {
      guard let message = await base.next() else { return nil }
      demand.taken(message)
      return message
    }
  }
}

/// Turns the consumer's demand into reading from the socket.
final class MessageDemand: NIOAsyncSequenceProducerDelegate, Sendable {
  /// Bytes held by messages that wait for the consumer at which reading stops, and to which they must fall before it
  /// goes on. What one read brings, or one message of the largest size, may come on top.
  static let watermark = (low: 1 << 20, high: 8 << 20)

  private let underlay: NIOLoopBound<Underlay>
  private let loop: any EventLoop
  private let state = NIOLockedValueBox((waiting: 0, isPaused: false))

  init(underlay: NIOLoopBound<Underlay>, loop: any EventLoop) {
    self.underlay = underlay
    self.loop = loop
  }

  /// What a message holds once it is taken apart: each header and the body is an array of its own.
  static func cost(_ message: Message) -> Int {
    message.headers.all.reduce(message.body.count + 512) { $0 + $1.value.count + 64 }
  }

  /// Call on the event loop.
  func arrived(_ message: Message) {
    let pauses = state.withLockedValue { state in
      state.waiting += Self.cost(message)
      guard state.waiting > Self.watermark.high, !state.isPaused else { return false }
      state.isPaused = true
      return true
    }
    if pauses { underlay.value.setReading(false) }
  }

  func taken(_ message: Message) {
    let resumes = state.withLockedValue { state in
      state.waiting -= Self.cost(message)
      guard state.isPaused, state.waiting <= Self.watermark.low else { return false }
      state.isPaused = false
      return true
    }
    // Behind the order to stop, which is given on the loop.
    if resumes { loop.execute { self.underlay.value.setReading(true) } }
  }

  func produceMore() {}
  func didTerminate() { loop.execute { self.underlay.value.close() } }
}
