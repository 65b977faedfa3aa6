// A chat over a private share: nothing listens on any port, on neither machine. Each line that somebody writes reaches
// everybody else.
//
//   swift run chat serve            prints the token of the chat
//   swift run chat join TOKEN NAME  on another enabled machine, as often as you like
//
// Both machines must be enabled at a share service: swiftlet share enable TOKEN
import Foundation
import NIOCore
import Swiftlet
import SwiftletShare

/// Everybody who is here.
actor Room {
  private var guests: [ObjectIdentifier: OverlayStream] = [:]

  func enter(_ guest: OverlayStream) { guests[ObjectIdentifier(guest)] = guest }
  func leave(_ guest: OverlayStream) { guests[ObjectIdentifier(guest)] = nil }

  func say(_ line: ByteBuffer, from speaker: OverlayStream) async {
    for guest in guests.values where guest !== speaker { try? await guest.write(line) }
  }
}

func serve(_ session: ShareSession) async throws {
  var options = ShareOptions(.private, target: "chat")
  options.isOpen = true
  try await session.withShare(options) { share in
    print("swift run chat join \(share.token) NAME")
    let room = Room()
    let listener = try await session.listen(share)
    // Ctrl-C ends the offer, and with it the loop below and the share.
    let signals = signalSource { Task { await listener.close() } }
    defer { signals.cancel() }
    try await withThrowingDiscardingTaskGroup { group in
      for try await guest in listener {
        group.addTask {
          await room.enter(guest)
          while let line = try? await guest.read() { await room.say(line, from: guest) }
          await room.leave(guest)
          await guest.close()
        }
      }
      group.cancelAll()
    }
  }
}

func join(_ session: ShareSession, _ token: String, as name: String) async throws {
  try await session.withAccess(token) { access in
    let stream = try await session.dial(access.shareToken)
    let listening = Task { while let line = try await stream.read() { print(String(buffer: line), terminator: "") } }
    // Reading the terminal blocks, so it has a thread of its own.
    let (lines, typed) = AsyncStream<String>.makeStream()
    Thread.detachNewThread {
      while let line = readLine() { typed.yield(line) }
      typed.finish()
    }
    for await line in lines { try await stream.write(ByteBuffer(string: "\(name): \(line)\n")) }
    try await stream.finish()
    listening.cancel()
    await stream.close()
  }
}

func signalSource(_ body: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
  signal(SIGINT, SIG_IGN)
  let source = DispatchSource.makeSignalSource(signal: SIGINT)
  source.setEventHandler(handler: body)
  source.resume()
  return source
}

let arguments = CommandLine.arguments.dropFirst()
let session = try ShareSession(ShareEnvironment.load())
switch (arguments.first, arguments.count) {
case ("serve", 1): try await serve(session)
case ("join", 3): try await join(session, arguments[2], as: arguments[3])
default:
  print("usage: chat serve | chat join TOKEN NAME")
  exit(64)
}
await session.close()
