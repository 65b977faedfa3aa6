import Foundation
import PKI
import Swiftlet
import Testing

@Suite("Identity files")
struct IdentityFileTests {
  private func identity() throws -> IdentityFile {
    let authority = try CertificateAuthority.createRoot(name: "root", trustDomain: "t", algorithm: .p256, now: Date())
    let key = try PrivateKey.generate(.p256)
    let chain = try authority.issueIdentity(
      publicKey: key.publicKey, subject: nil, identityID: "i", trustDomain: "t", now: Date())
    return IdentityFile(
      controllers: ["https://ctrl:1280/edge/client/v1"], key: "pem:" + key.pem, certificate: chain.pem,
      authorities: authority.chain.leaf.pem)
  }

  @Test("survive saving and loading, with mode 0600 in a directory of mode 0700")
  func roundTrip() throws {
    let directory = NSTemporaryDirectory() + "identity-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let path = directory + "/new/alice.json"
    let saved = try identity()
    try saved.save(to: path)
    let loaded = try IdentityFile.load(from: path)
    #expect(loaded.controllers == saved.controllers)
    _ = try loaded.clientTLS()
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    #expect(try FileManager.default.attributesOfItem(atPath: directory + "/new")[.posixPermissions] as? Int == 0o700)
    // Another save replaces it in one step and leaves nothing beside it.
    try loaded.save(to: path)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/new") == ["alice.json"])
  }

  @Test("of other SDKs are read, and members we do not know survive")
  func foreign() throws {
    let text = String(decoding: try identity().serialized(), as: UTF8.self)
    let foreign = text.replacing(
      "{\n  \"id\"", with: "{\n  \"configTypes\": null, \"enableHa\": false, \"x\": [1, 2.5, \"y\"],\n  \"id\"")
    let read = try IdentityFile(parsing: Array(foreign.utf8))
    let written = String(decoding: read.serialized(), as: UTF8.self)
    #expect(written.contains("\"enableHa\" : false"))
    #expect(written.contains("2.5"))
    let legacy = #"{"ztAPI":"https://c:1","id":{"key":"k","cert":"c","ca":"a"}}"#
    #expect(try IdentityFile(parsing: Array(legacy.utf8)).controllers == ["https://c:1"])
  }

  @Test(
    "that cannot be used say why",
    arguments: [
      ("", "JSON"), ("[]", "JSON"), ("{}", "ztAPI"), (#"{"ztAPI":"https://c:1"}"#, "id"),
      (#"{"ztAPI":"https://c:1","id":{"cert":"c","ca":"a"}}"#, "id.key"),
      (#"{"ztAPI":7,"id":{"key":"k","cert":"c","ca":"a"}}"#, "ztAPI"), (#"{"ztAPIs":[],"ztAPI":"","id":{}}"#, "ztAPI"),
    ])
  func broken(text: String, word: String) throws {
    let error = #expect(throws: IdentityFileError.self) { try IdentityFile(parsing: Array(text.utf8)) }
    #expect(error?.description.contains(word) == true)
  }

  @Test("with a key of another certificate, in hardware, or missing on disk are refused when used")
  func unusable() throws {
    var file = try identity()
    file.key = "pem:" + (try PrivateKey.generate(.p256)).pem
    #expect(throws: IdentityFileError.self) { try file.clientTLS() }
    file.key = "pkcs11:driver?slot=1"
    #expect(throws: IdentityFileError.self) { try file.clientTLS() }
    file.key = "file:///nowhere/at/all.pem"
    #expect(throws: IdentityFileError.self) { try file.clientTLS() }
    #expect(throws: IdentityFileError.self) { try IdentityFile.load(from: "/nowhere/at/all.json") }
  }
}
