import PKI
import Transport

/// A name in a directory as the file system keeps it: any bytes but `/` and NUL, whether they are UTF-8 or not. Names
/// are compared byte by byte, so that two spellings of one letter are two names.
struct FileName: Hashable, Sendable {
  /// Directories in each other that are reached, listed, copied or removed at most.
  static let depthLimit = 128

  /// What the file system takes: the bytes, and a NUL.
  let cString: [CChar]

  static let index = FileName(Array("index.html".utf8))
  /// RFC 8615.
  private static let wellKnown = Array(".well-known".utf8)
  /// Of names that only this program uses, while something is on its way in or out.
  private static let temporaryPrefix = ".swiftlet-upload-"

  var bytes: some Collection<UInt8> { cString.dropLast().lazy.map { UInt8(bitPattern: $0) } }

  private init(_ bytes: [UInt8]) { cString = bytes.map { CChar(bitPattern: $0) } + [0] }

  /// nil for what is no name: empty, `.`, `..`, over 255 bytes, with a NUL or `/`.
  init?(bytes: [UInt8]) {
    guard !bytes.isEmpty, bytes.count <= 255, bytes != [UInt8(ascii: ".")],
      bytes != [UInt8(ascii: "."), UInt8(ascii: ".")]
    else { return nil }
    guard !bytes.contains(0), !bytes.contains(UInt8(ascii: "/")) else { return nil }
    self.init(bytes)
  }

  /// nil for `.` and `..`. - Parameter cString: at most 255 bytes and their NUL.
  init?(cString: UnsafePointer<CChar>) {
    var bytes: [UInt8] = []
    while bytes.count < 256, cString[bytes.count] != 0 { bytes.append(UInt8(bitPattern: cString[bytes.count])) }
    self.init(bytes: bytes)
  }

  /// One that nothing has.
  static func temporary() -> FileName { FileName(Array((temporaryPrefix + RandomSource.hex(8)).utf8)) }

  var isTemporary: Bool { bytes.starts(with: Self.temporaryPrefix.utf8) }

  /// Whether sites keep it to themselves.
  var isHidden: Bool { cString.first == CChar(bitPattern: UInt8(ascii: ".")) && !bytes.elementsEqual(Self.wellKnown) }

  /// Whether it would lead upwards where `\` parts names: nobody needs one, and some client's machine would believe it.
  var isTrap: Bool {
    bytes.split(separator: UInt8(ascii: "\\"), omittingEmptySubsequences: false).count > 1
      && bytes.split(separator: UInt8(ascii: "\\")).contains { $0.elementsEqual("..".utf8) }
  }

  /// For people and XML: what is not UTF-8, or a control character, is shown as U+FFFD.
  var shown: String {
    var result = String.UnicodeScalarView()
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      let isPlain =
        scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value) && scalar.value != 0xFFFE
        && scalar.value != 0xFFFF
      result.append(isPlain ? scalar : "\u{FFFD}")
    }
    return String(result)
  }

  /// As a segment of a URL.
  var encoded: String { PercentText.encoded(Array(bytes)) }

  /// For `ContentTypes`: what is behind the last dot, in small letters.
  var lowercased: String { String(decoding: bytes, as: UTF8.self).lowercased() }
}

/// What a URL's path names below a root.
typealias FilePath = [FileName]

/// Bytes of a URL's path, percent-encoded: three for each that the file system allows in one.
private let urlPathLimit = 3 * 4096

extension FilePath {
  /// The segments of a request's path, each decoded once. - Throws: `badPath` for what names nothing below a root.
  init(url path: some StringProtocol) throws(ConfinedRoot.Failure) {
    guard path.utf8.count <= urlPathLimit, path.utf8.first == UInt8(ascii: "/") else { throw .badPath }
    self = []
    for part in OctetText.octets(String(path)).split(separator: UInt8(ascii: "/")) {
      guard let bytes = PercentText.decoded(part) else { throw .badPath }
      if bytes == [UInt8(ascii: ".")] { continue }
      guard let name = FileName(bytes: bytes), count < FileName.depthLimit else { throw .badPath }
      append(name)
    }
  }

  /// As the path of a URL, which begins at this server's root.
  func url(isDirectory: Bool) -> String {
    isEmpty ? "/" : "/" + map(\.encoded).joined(separator: "/") + (isDirectory ? "/" : "")
  }
}
