import Foundation
import Logging
import PKI
import Testing
import Transport

@testable import SwiftletCommand

@Suite("Certificates of a share service")
struct CertificateFilesTests {
  @Test("an authority of one's own stays, its certificates are issued anew when they are due")
  func own() throws {
    let directory = NSTemporaryDirectory() + "own-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let names = ["share.localhost", "*.share.localhost", "127.0.0.1"]
    func make() throws -> OwnCertificate {
      try OwnCertificate(directory: directory, names: names, logger: Logger(label: "test"))
    }
    let first = try make()
    let authority = try String(contentsOfFile: first.authorityFile, encoding: .utf8)
    let pem = first.identity.chain.pem
    first.refresh(now: Date())
    #expect(first.identity.chain.pem == pem)
    first.refresh(now: Date() + CertificateAuthority.Lifetime.year * 0.9)
    #expect(first.identity.chain.pem != pem)
    let second = try make()
    #expect(
      try String(contentsOfFile: second.authorityFile, encoding: .utf8) == authority && second.identity.chain.pem != pem
    )
    for file in ["authority.pem", "authority.key"] {
      #expect(
        try FileManager.default.attributesOfItem(atPath: directory + "/" + file)[.posixPermissions] as? Int == 0o600)
    }
    try "nonsense".write(toFile: directory + "/authority.key", atomically: true, encoding: .utf8)
    #expect(throws: (any Error).self) { try make() }
  }

  @Test("a new pair is taken as a whole; a half-written one leaves the old in use")
  func renewed() throws {
    let directory = NSTemporaryDirectory() + "certificates-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let (certificate, keyFile) = (directory + "/fullchain.pem", directory + "/key.pem")
    let now = Date()
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "test", algorithm: .p256, now: now)
    var second = 0.0
    func write(_ text: String, to path: String) throws {
      second += 1
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.modificationDate: now.addingTimeInterval(second)], ofItemAtPath: path)
    }
    func pair() throws -> (chain: CertificateChain, key: PrivateKey) {
      let key = try PrivateKey.generate(.p256)
      return (
        try authority.issueServer(publicKey: key.publicKey, names: ["share.example.com"], uris: [], now: now), key
      )
    }
    let (old, new) = (try pair(), try pair())
    try write(old.chain.pem, to: certificate)
    try write(old.key.pem, to: keyFile)
    let files = try CertificateFiles(certificate: certificate, key: keyFile, logger: Logger(label: "test"))
    files.refresh()
    #expect(files.identity.chain.pem == old.chain.pem)
    try write(new.chain.pem, to: certificate)
    files.refresh()
    #expect(files.identity.chain.pem == old.chain.pem)
    try write(new.key.pem, to: keyFile)
    files.refresh()
    #expect(files.identity.chain.pem == new.chain.pem && files.identity.key.pem == new.key.pem)
    try write("nonsense", to: certificate)
    files.refresh()
    #expect(files.identity.chain.pem == new.chain.pem)
    #expect(throws: CommandFailure.self) {
      try CertificateFiles(certificate: certificate, key: keyFile, logger: Logger(label: "test"))
    }
  }
}
