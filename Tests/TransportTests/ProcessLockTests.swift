import Foundation
import Testing
import Transport

@Suite("The lock of a process")
struct ProcessLockTests {
  @Test("the second hears who has it; what lets go may be taken; the file is its owner's, and no link to another")
  func lock() throws {
    let directory = NSTemporaryDirectory() + "lock-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let path = directory + "/a.lock"
    let first = try ProcessLock(path, what: "another test")
    let process = ProcessInfo.processInfo.processIdentifier
    #expect(throws: ProcessLock.Failure.held(what: "another test", path: path, process: process)) {
      try ProcessLock(path, what: "another test")
    }
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    first.release()
    var second: ProcessLock? = try ProcessLock(path, what: "another test")
    #expect(second != nil)
    second = nil
    _ = try ProcessLock(path, what: "another test")
    try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: directory + "/victim")
    #expect(throws: ProcessLock.Failure.self) { try ProcessLock(directory + "/link", what: "x") }
    #expect(!FileManager.default.fileExists(atPath: directory + "/victim"))
    #expect(throws: ProcessLock.Failure.self) { try ProcessLock(directory + "/none/a.lock", what: "x") }
  }
}
