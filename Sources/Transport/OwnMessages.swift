import NIOCore

/// Messages of our own on their way to one peer, as against payload that is passed on: coalesced into few writes and
/// counted by what they really hold.
///
/// A small write held back by a peer that does not read costs a page in TLS's buffer, whatever its length. So one write
/// is under way at a time; what comes meanwhile gathers in one buffer behind it. Payload must not overtake what was
/// said before it, and hands that buffer over early: such writes are counted with their page.
struct OwnMessages {
  /// Messages that leave in one write.
  struct Batch {
    let bytes: ByteBuffer
    /// Of them answers to the peer.
    let answers: Int
    let promises: [EventLoopPromise<Void>]
    /// Bytes held until the write is done.
    var cost: Int { bytes.storageCapacity + OwnMessages.writeCost }
  }

  /// Bytes that a write costs beside its own (measured with TLS).
  static let writeCost = 4096

  private var gathered = ByteBuffer()
  private var gatheredAnswers = 0
  private var promises: [EventLoopPromise<Void>] = []
  private var writtenCost = 0
  private var writtenAnswers = 0
  private var writes = 0

  var isEmpty: Bool { gathered.readableBytes == 0 && promises.isEmpty }
  var isUnderWay: Bool { writes > 0 }
  /// Bytes held now.
  var cost: Int { writtenCost + gathered.readableBytes }
  /// Bytes of answers that have not left.
  var answers: Int { writtenAnswers + gatheredAnswers }

  mutating func gather(_ message: [UInt8], isAnswer: Bool, promise: EventLoopPromise<Void>?) {
    gathered.writeBytes(message)
    if isAnswer { gatheredAnswers += message.count }
    if let promise { promises.append(promise) }
  }

  /// Takes what has gathered, to be written now.
  mutating func take() -> Batch {
    let batch = Batch(bytes: gathered, answers: gatheredAnswers, promises: promises)
    gathered = ByteBuffer()
    gatheredAnswers = 0
    promises = []
    writes += 1
    writtenCost += batch.cost
    writtenAnswers += batch.answers
    return batch
  }

  mutating func left(_ batch: Batch) {
    writes -= 1
    writtenCost -= batch.cost
    writtenAnswers -= batch.answers
  }
}
