import Foundation
import SwiftletShare
import Testing

@testable import ShareAgent

@Suite("What people write that is to be shared")
struct BackendTargetTests {
  @Test("a path stays what was written: its links may lead elsewhere tomorrow")
  func paths() throws {
    let base = NSTemporaryDirectory() + "swiftlet-target-" + UUID().uuidString
    let files = FileManager.default
    try files.createDirectory(atPath: base + "/release", withIntermediateDirectories: true)
    for name in ["page.html", "Caddyfile"] {
      try Data("x".utf8).write(to: URL(fileURLWithPath: base + "/release/" + name))
    }
    try files.createSymbolicLink(atPath: base + "/current", withDestinationPath: "release")
    defer { try? files.removeItem(atPath: base) }
    #expect(try BackendTarget.recognise(base + "/current") == .directory(base + "/current"))
    #expect(try BackendTarget.recognise(base + "//current/./") == .directory(base + "/current"))
    #expect(try BackendTarget.recognise(base + "/current/page.html") == .file(base + "/current/page.html"))
    #expect(try BackendTarget.recognise(base + "/current/Caddyfile") == .caddyfile(base + "/current/Caddyfile"))
    #expect(try BackendTarget.recognise(base + "/current/Caddyfile", for: .web) == .file(base + "/current/Caddyfile"))
    #expect(try BackendTarget.recognise(base + "/current/page.html").defaultMode == .web)
    let here = files.currentDirectoryPath
    #expect(try BackendTarget.recognise(".") == .directory(here))
    #expect(try BackendTarget.recognise("..") == .directory((here as NSString).deletingLastPathComponent))
    #expect(throws: BackendTarget.Unclear.self) { try BackendTarget.recognise(base + "/none") }
  }
}
