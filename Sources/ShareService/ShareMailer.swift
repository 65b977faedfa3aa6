import Foundation
import Logging
import NIOConcurrencyHelpers

/// Sends mail through the machine's own mail program, which queues and delivers: `sendmail`, as Postfix, Exim,
/// OpenSMTPD and msmtp bring it.
public struct ShareMail: Sendable {
  /// Path of the program.
  public var program: String
  public var from: String

  public init(from: String, program: String = "/usr/sbin/sendmail") {
    self.from = from
    self.program = program
  }

  /// Whether an address can stand in a header and among arguments as one address and nothing else.
  public static func isPlain(_ address: String) -> Bool {
    address.utf8.count <= 254
      && address.wholeMatch(
        of: /[A-Za-z0-9!#$%&'*+\/=?^_`{|}~][A-Za-z0-9.!#$%&'*+\/=?^_`{|}~-]*@[A-Za-z0-9][A-Za-z0-9.-]*/) != nil
  }
}

/// Mail on its way to the mail program. Whoever asks does not wait: how long it takes would tell strangers whether
/// there is such an account.
final class ShareMailer: Sendable {
  struct Letter: Sendable {
    let to: String
    let subject: String
    let text: String
  }

  /// Letters that wait, and how long the program may take for one.
  private static let capacity = 1000
  private static let patience: TimeInterval = 30

  private let mail: ShareMail
  private let logger: Logger
  private let letters: AsyncStream<Letter>
  private let queue: AsyncStream<Letter>.Continuation

  init(_ mail: ShareMail, logger: Logger) {
    self.mail = mail
    self.logger = logger
    (letters, queue) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.capacity))
  }

  /// - Throws: `ShareRefusal` when the address is none that mail can go to, or too many letters wait.
  func post(_ letter: Letter) throws {
    guard ShareMail.isPlain(letter.to) else { throw ShareRefusal(400, "mail cannot go to '\(letter.to.prefix(254))'") }
    if case .dropped = queue.yield(letter) {
      throw ShareRefusal(503, "too much mail waits to be sent; try again in some minutes")
    }
  }

  /// Sends one letter after the other until cancelled.
  func run() async {
    for await letter in letters {
      do { try await send(letter) } catch {
        logger.error(
          "mail was not sent; whoever waits for it can ask again",
          metadata: ["to": "\(letter.to)", "program": "\(mail.program)", "reason": "\(error)"])
      }
    }
  }

  private struct Failure: Error, CustomStringConvertible { let description: String }

  private func send(_ letter: Letter) async throws {
    let text = """
      From: \(mail.from)
      To: \(letter.to)
      Subject: \(letter.subject)
      MIME-Version: 1.0
      Content-Type: text/plain; charset=utf-8
      Content-Transfer-Encoding: 8bit
      Auto-Submitted: auto-generated

      \(letter.text)

      """
    let (program, arguments) = (mail.program, ["-i", "-f", mail.from, "--", letter.to])
    // On a thread that may wait.
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      Thread.detachNewThread { continuation.resume(with: Result { try Self.run(program, arguments, text) }) }
    }
  }

  private static func run(_ program: String, _ arguments: [String], _ text: String) throws {
    let (process, input) = (Process(), Pipe())
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = input
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    let ended = DispatchSemaphore(value: 0)
    process.terminationHandler = { _ in ended.signal() }
    try process.run()
    // A letter fits into the pipe, so writing does not wait for the program. One that ends early is told by its status.
    try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
    try? input.fileHandleForWriting.close()
    guard ended.wait(timeout: .now() + patience) == .success else {
      process.terminate()
      throw Failure(description: "no end within \(Int(patience)) s")
    }
    guard process.terminationStatus == 0 else {
      throw Failure(description: "it ended with status \(process.terminationStatus)")
    }
  }
}
