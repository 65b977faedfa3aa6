import Foundation
import Logging
import PKI
import Testing
import Transport

@testable import SwiftletCommand

@Suite("Certificates that an ACME client keeps fresh")
struct CertificateFilesTests {
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
      return (try authority.issueServer(publicKey: key.publicKey, names: ["share.example.com"], uris: [], now: now), key)
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
    #expect(throws: CommandFailure.self) { try CertificateFiles(certificate: certificate, key: keyFile, logger: Logger(label: "test")) }
  }
}
