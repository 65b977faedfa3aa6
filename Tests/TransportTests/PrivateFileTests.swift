import Foundation
import Testing

@testable import Transport

@Suite("Private files")
struct PrivateFileTests {
  /// Says the same name again and again.
  private struct Constant: RandomNumberGenerator {
    mutating func next() -> UInt64 { 0xabc }
  }

  private static func withDirectory(_ body: (String) throws -> Void) throws {
    let directory = try PrivateFile.makeTemporaryDirectory(NSTemporaryDirectory() + "private-")
    defer {
      chmod(directory, 0o700)
      try? FileManager.default.removeItem(atPath: directory)
    }
    try body(directory)
  }

  private static func mode(_ path: String) throws -> Int? {
    try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
  }

  private static func names(_ directory: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
  }

  @Test("are their owner's alone, in directories that are too, and replaced whole; nothing lies beside them")
  func replacing() throws {
    try Self.withDirectory { directory in
      let path = directory + "/a/b/secret"
      try PrivateFile.write(String(repeating: "long ", count: 50_000), to: path)
      #expect(try Self.mode(path) == 0o600)
      #expect(try Self.mode(directory + "/a") == 0o700 && Self.mode(directory + "/a/b") == 0o700)
      chmod(path, 0o644)
      try PrivateFile.write("short", to: path)
      #expect(try PrivateFile.text(path) == "short")
      #expect(try Self.mode(path) == 0o600)
      try PrivateFile.writeTransient([], to: path)
      #expect(try PrivateFile.read(path) == [])
      #expect(try Self.names(directory + "/a/b") == ["secret"])
    }
  }

  @Test("a link at the target is replaced itself; what it leads to stays")
  func linkAtTheTarget() throws {
    try Self.withDirectory { directory in
      let (victim, path) = (directory + "/victim", directory + "/secret")
      try PrivateFile.write("old", to: victim)
      try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: victim)
      try PrivateFile.write("new", to: path)
      #expect(try PrivateFile.text(victim) == "old" && PrivateFile.text(path) == "new")
      #expect(try FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType == .typeRegular)
    }
  }

  @Test("a link or a file where the new bytes would go is not touched, and the old file stays")
  func linkAtTheTemporaryName() throws {
    try Self.withDirectory { directory in
      let (victim, path) = (directory + "/victim", directory + "/secret")
      try PrivateFile.write("old", to: path)
      try FileManager.default.createSymbolicLink(atPath: path + ".abc.new", withDestinationPath: victim)
      var random = Constant()
      let failure = #expect(throws: PrivateFile.Failure.self) {
        _ = try PrivateFile.replace(path, with: [1], isDurable: true, using: &random)
      }
      #expect(failure?.path == path && failure?.next == "remove \(path).abc.new")
      #expect(!PrivateFile.exists(victim))
      #expect(try PrivateFile.text(path) == "old")
      // Names that somebody can foresee are ours alone; others get another.
      try PrivateFile.write("new", to: path)
      #expect(try PrivateFile.text(path) == "new")
      #expect(try Self.names(directory) == ["secret", "secret.abc.new"])
    }
  }

  @Test("a failure says which file, why and what helps, and leaves nothing over")
  func failures() throws {
    try Self.withDirectory { directory in
      // A directory has the name.
      try PrivateFile.write("x", to: directory + "/taken/inside")
      let taken = #expect(throws: PrivateFile.Failure.self) { try PrivateFile.write("new", to: directory + "/taken") }
      #expect(taken?.description.hasPrefix("cannot write \(directory)/taken: ") == true)
      #expect(taken?.next == "a directory has that name; move it away, or name another file")
      #expect(try Self.names(directory) == ["taken"])
      // A part of the path is a file.
      let beyond = #expect(throws: PrivateFile.Failure.self) {
        try PrivateFile.write("new", to: directory + "/taken/inside/new")
      }
      #expect(beyond?.path == directory + "/taken/inside" && beyond?.next?.contains("is a file") == true)
      // Nothing is there.
      let missing = #expect(throws: PrivateFile.Failure.self) { try PrivateFile.read(directory + "/none") }
      #expect(missing?.description.hasPrefix("cannot read \(directory)/none: ") == true)
      #expect(throws: PrivateFile.Failure.self) { try PrivateFile.writeTransient([1], to: directory + "/none/new") }
      #expect(try Self.names(directory) == ["taken"])
    }
  }

  @Test("a directory in which this user may not write is named", .enabled(if: geteuid() != 0))
  func unwritableDirectory() throws {
    try Self.withDirectory { directory in
      try PrivateFile.write("old", to: directory + "/secret")
      chmod(directory, 0o500)
      let failure = #expect(throws: PrivateFile.Failure.self) {
        try PrivateFile.write("new", to: directory + "/secret")
      }
      #expect(failure?.next?.contains("write in \(directory)") == true)
      #expect(try PrivateFile.text(directory + "/secret") == "old" && Self.names(directory) == ["secret"])
    }
  }

  @Test("are read to a limit, without the mark of some editors")
  func reading() throws {
    try Self.withDirectory { directory in
      let path = directory + "/text"
      try PrivateFile.write([0xEF, 0xBB, 0xBF] + Array("abc".utf8), to: path)
      #expect(try PrivateFile.text(path) == "abc")
      #expect(try PrivateFile.read(path, limit: 6).count == 3)
      let failure = #expect(throws: PrivateFile.Failure.self) { try PrivateFile.read(path, limit: 5) }
      #expect(failure?.isTooLarge == true)
    }
  }

  @Test("the new bytes of a file that grows go behind its first")
  func growing() throws {
    try Self.withDirectory { directory in
      let path = directory + "/lines"
      let file = FileHandle(fileDescriptor: try PrivateFile.replace(path, with: [1, 2]), closeOnDealloc: true)
      try file.write(contentsOf: [3] as [UInt8])
      #expect(try PrivateFile.read(path) == [1, 2, 3])
    }
  }

  @Test(
    "a path lies in a directory",
    arguments: [
      ("a", "."), ("a/b", "a"), ("/a", "/"), ("/a/b/", "/a"), ("/", "/"), ("a//b", "a"), ("", "."), ("./a", "."),
    ])
  func directories(_ path: String, _ directory: String) { #expect(PrivateFile.directory(of: path) == directory) }
}
