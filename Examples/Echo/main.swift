// An echo service that no port scan can find, and its client: the program of the tutorial "An echo service in five
// minutes".
//
//   swift run echo enroll server.jwt server.json
//   swift run echo serve server.json
//   swift run echo dial client.json "hello, dark world"
import Foundation
import NIOCore
import Swiftlet

let arguments = CommandLine.arguments.dropFirst()
switch (arguments.first, arguments.count) {
case ("enroll", 3):
  let jwt = try String(contentsOfFile: arguments[2], encoding: .utf8)
  try await IdentityFile.enroll(jwt: jwt).save(to: arguments[3])
case ("serve", 2):
  let overlay = try await Overlay(identity: .load(from: arguments[2]))
  let listener = try await overlay.listen("echo")
  try await withThrowingDiscardingTaskGroup { group in
    for try await stream in listener {
      group.addTask {
        // One caller's trouble is no other caller's.
        do {
          for try await bytes in stream { try await stream.write(bytes) }
          try await stream.finish()
        } catch {
          print("\(stream.caller?.identityName ?? "someone"): \(error)")
        }
        await stream.close()
      }
    }
  }
case ("dial", 3):
  let overlay = try await Overlay(identity: .load(from: arguments[2]))
  let stream = try await overlay.dial("echo")
  try await stream.write(ByteBuffer(string: arguments[3]))
  try await stream.finish()
  for try await bytes in stream { print(String(buffer: bytes)) }
  await stream.close()
  await overlay.close()
default:
  print("usage: echo enroll TOKEN.jwt IDENTITY.json | serve IDENTITY.json | dial IDENTITY.json TEXT")
  exit(64)
}
