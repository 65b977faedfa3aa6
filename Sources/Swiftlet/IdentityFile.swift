import FoundationEssentials
import JSON
public import PKI
public import Transport

/// An enrolled identity: which controller it belongs to, its key and certificate, and whom it trusts.
///
/// The file is the one that every OpenZiti SDK reads and writes (edge-client-api.md 2.6); members that this SDK does
/// not know survive loading and saving. The file holds a private key: it is written with mode 0600, in a directory that
/// is made with mode 0700.
public struct IdentityFile: Sendable, Equatable {
  /// Addresses of the controller's client API, with or without the path `/edge/client/v1`; the first that answers is
  /// used.
  public var controllers: [String]
  /// The private key: PEM text, `pem:` and PEM text, `file://` and a path, or a path.
  public var key: String
  /// The certificate chain, leaf first, in the same forms.
  public var certificate: String
  /// The certificates to trust, in the same forms.
  public var authorities: String
  /// Set once the controllers of the network are known to bear SPIFFE ids `spiffe://<trust domain>/controller/<id>`, as
  /// Swiftlet's do: from then on no other server, and no router's certificate, passes for one. Stored as `trustDomain`,
  /// a member that other SDKs pass over. nil accepts a controller without an id, as OpenZiti's are outside of clusters,
  /// but never a certificate that is marked as a router's or an identity's.
  public var trustDomain: String?
  /// The document as it was read, for the members we do not know.
  private var document: JSONObject

  /// The largest file that is read, in bytes.
  public static let sizeLimit = 1024 * 1024
  private static let limits = JSONLimits(bytes: sizeLimit, depth: 64)

  /// An identity from its parts.
  ///
  /// - Parameters:
  ///   - controllers: at least one `https://host:port[/edge/client/v1]`.
  ///   - key: the private key as PEM or reference.
  ///   - certificate: the chain as PEM or reference, leaf first.
  ///   - authorities: the trusted certificates as PEM or reference.
  ///   - trustDomain: see `trustDomain`.
  public init(controllers: [String], key: String, certificate: String, authorities: String, trustDomain: String? = nil)
  {
    self.controllers = controllers
    self.key = key
    self.certificate = certificate
    self.authorities = authorities
    self.trustDomain = trustDomain
    document = [:]
  }

  /// Reads the JSON text of an identity file.
  /// - Throws: `IdentityFileError`.
  public init(parsing text: [UInt8]) throws(IdentityFileError) {
    guard text.count <= Self.sizeLimit else { throw .tooLarge(limit: Self.sizeLimit) }
    let parsed: JSONValue
    do throws(JSONError) { parsed = try JSONValue(parsing: text, limits: Self.limits) } catch {
      throw .notJSON("\(error)")
    }
    guard let document = parsed.objectValue else { throw .notJSON("found: \(parsed.typeName)") }
    let listed = (document["ztAPIs"]?.arrayValue ?? []).compactMap(\.stringValue)
    controllers = (listed.isEmpty ? [document["ztAPI"]?.stringValue].compactMap { $0 } : listed).filter { !$0.isEmpty }
    guard !controllers.isEmpty else { throw .missing(member: "ztAPI") }
    guard let credentials = document["id"]?.objectValue else { throw .missing(member: "id") }
    guard let key = credentials["key"]?.stringValue, !key.isEmpty else { throw .missing(member: "id.key") }
    guard let certificate = credentials["cert"]?.stringValue, !certificate.isEmpty else {
      throw .missing(member: "id.cert")
    }
    guard let authorities = credentials["ca"]?.stringValue, !authorities.isEmpty else {
      throw .missing(member: "id.ca")
    }
    self.key = key
    self.certificate = certificate
    self.authorities = authorities
    trustDomain = document["trustDomain"]?.stringValue
    self.document = document
  }

  /// Reads an identity file.
  ///
  /// - Parameter path: relative paths inside the file are resolved against the directory of this process, as other SDKs
  ///   do.
  /// - Throws: `IdentityFileError`.
  public static func load(from path: String) throws(IdentityFileError) -> IdentityFile {
    try IdentityFile(parsing: Self.read(path))
  }

  /// Writes the identity, replacing a file that exists in one step.
  ///
  /// - Parameter path: its directory is made, with mode 0700, when it does not exist; the file has mode 0600.
  /// - Throws: `IdentityFileError.notWritable`.
  public func save(to path: String) throws(IdentityFileError) {
    try Self.write(serialized(), to: path)
  }

  /// The JSON text: what `save(to:)` writes.
  public func serialized() -> [UInt8] {
    var document = self.document
    document["trustDomain"] = trustDomain.map { .string($0) }
    document["ztAPI"] = controllers.first.map { .string($0) }
    document["ztAPIs"] = .array(controllers.map { .string($0) })
    var credentials = document["id"]?.objectValue ?? [:]
    credentials["key"] = .string(Self.referenceForm(key))
    credentials["cert"] = .string(Self.referenceForm(certificate))
    credentials["ca"] = .string(Self.referenceForm(authorities))
    document["id"] = .object(credentials)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    // A tree of strings, numbers and lists always encodes.
    return (try? encoder.encode(document)).map(Array.init) ?? []
  }

  /// Raw PEM gets the prefix that every SDK understands.
  private static func referenceForm(_ value: String) -> String {
    value.hasPrefix("-----BEGIN") ? "pem:" + value : value
  }

  // MARK: Credentials

  /// What the identity proves in TLS and whom it believes, towards routers.
  /// - Throws: `IdentityFileError` when a reference cannot be read or its content is unusable.
  public func clientTLS() throws(IdentityFileError) -> ClientTLS {
    let (chain, key) = try credentials()
    return ClientTLS(chain: chain, key: key, trust: .anchors(try trustAnchors()))
  }

  /// The same towards controllers, which must prove more than a host name.
  /// - Throws: `IdentityFileError` when a reference cannot be read or its content is unusable.
  public func controllerTLS() throws(IdentityFileError) -> ClientTLS {
    let (chain, key) = try credentials()
    return ClientTLS(chain: chain, key: key, trust: .anchors(try trustAnchors(), as: .controller(of: trustDomain)))
  }

  /// The key and the certificates that go with it.
  /// - Throws: `IdentityFileError` when a reference cannot be read or its content is unusable.
  public func credentials() throws(IdentityFileError) -> (chain: CertificateChain, key: PrivateKey) {
    let key: PrivateKey
    let chain: CertificateChain
    do { key = try PrivateKey(pem: try Self.resolve(self.key)) } catch let error as PKIError {
      throw .unusable(member: "id.key", reason: "\(error)")
    } catch {
      throw .unusable(member: "id.key", reason: "\(error)")
    }
    do { chain = try CertificateChain(pem: try Self.resolve(certificate)) } catch {
      throw .unusable(member: "id.cert", reason: "\(error)")
    }
    guard key.fits(chain.leaf) else {
      throw .unusable(member: "id.cert", reason: "the certificate was issued for another key than id.key")
    }
    return (chain, key)
  }

  /// The certificates to trust.
  /// - Throws: `IdentityFileError` when the reference cannot be read or holds no certificate.
  public func trustAnchors() throws(IdentityFileError) -> TrustAnchors {
    do { return TrustAnchors(try Certificates.list(pem: try Self.resolve(authorities))) } catch {
      throw .unusable(member: "id.ca", reason: "\(error)")
    }
  }

  /// PEM text behind a reference: the text itself, `pem:`, `file://` or a path.
  private static func resolve(_ reference: String) throws(IdentityFileError) -> String {
    if reference.hasPrefix("pem:") { return String(reference.dropFirst(4)) }
    if reference.hasPrefix("-----BEGIN") { return reference }
    if reference.hasPrefix("file://") {
      return String(decoding: try read(String(reference.dropFirst(7))), as: UTF8.self)
    }
    if let scheme = reference.firstIndex(of: ":"),
      ["pkcs11", "keychain", "parsec", "engine"].contains(String(reference[..<scheme]))
    {
      throw .unsupportedReference(String(reference[..<scheme]))
    }
    return String(decoding: try read(reference), as: UTF8.self)
  }

  // MARK: Files

  private static func read(_ path: String) throws(IdentityFileError) -> [UInt8] {
    do throws(PrivateFile.Failure) {
      return try PrivateFile.read(path, limit: sizeLimit)
    } catch {
      if error.isTooLarge { throw .tooLarge(limit: sizeLimit) }
      throw .notReadable(path: path, reason: error.reason)
    }
  }

  private static func write(_ bytes: [UInt8], to path: String) throws(IdentityFileError) {
    do throws(PrivateFile.Failure) {
      try PrivateFile.write(bytes, to: path)
    } catch {
      throw .notWritable(path: path, reason: error.because)
    }
  }
}

/// Why an identity file cannot be used.
public enum IdentityFileError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file, or one that it refers to, cannot be read; `reason` is the system's.
  case notReadable(path: String, reason: String)
  /// The file cannot be written; `reason` is the system's. What was there before is still there.
  case notWritable(path: String, reason: String)
  /// The file is larger than ``IdentityFile/sizeLimit``, in bytes.
  case tooLarge(limit: Int)
  /// The text is no JSON object.
  case notJSON(String)
  /// The document lacks what no identity can do without.
  case missing(member: String)
  /// A key or certificate is there, and cannot be used.
  case unusable(member: String, reason: String)
  /// A key in hardware or in a key chain.
  case unsupportedReference(String)

  /// What is wrong with the file, and what to do.
  public var description: String {
    switch self {
    case .notReadable(let path, let reason): "cannot read \(path): \(reason)"
    case .notWritable(let path, let reason): "cannot write \(path): \(reason)"
    case .tooLarge(let limit): "the file is larger than \(limit) bytes, which no identity file is"
    case .notJSON(let reason):
      "the file is not a JSON object; an enrollment token (.jwt) must be enrolled first (\(reason))"
    case .missing(let member): "the identity file has no member \(member); enroll again to get a whole one"
    case .unusable(let member, let reason): "\(member) of the identity file cannot be used: \(reason)"
    case .unsupportedReference(let scheme): "keys in \(scheme) are not supported; use a key file or PEM text"
    }
  }
}
