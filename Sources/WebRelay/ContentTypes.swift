/// Media types by file extension (IANA), and by what a file begins with where that tells more.
enum ContentTypes {
  /// Text that browsers show as it is: whatever else it is called, they would store it.
  private static let plain = "text/plain"
  private static let binary = "application/octet-stream"
  /// Bytes of a file that are looked at.
  private static let startSize = 1024

  private static let types: [String: String] = {
    var types: [String: String] = [
      "html": "text/html", "htm": "text/html", "xhtml": "application/xhtml+xml", "css": "text/css",
      "js": "text/javascript", "mjs": "text/javascript",
      "cjs": "text/javascript", "txt": plain, "csv": "text/csv", "xml": "text/xml", "xsl": "text/xml",
      "ics": "text/calendar", "vcf": "text/vcard",
      "vtt": "text/vtt",
      "json": "application/json", "map": "application/json", "geojson": "application/geo+json",
      "jsonld": "application/ld+json",
      "webmanifest": "application/manifest+json", "wasm": "application/wasm", "atom": "application/atom+xml",
      "rss": "application/rss+xml",
      "pdf": "application/pdf", "zip": "application/zip", "gz": "application/gzip", "tgz": "application/gzip",
      "tar": "application/x-tar",
      "7z": "application/x-7z-compressed", "rar": "application/vnd.rar", "bz2": "application/x-bzip2",
      "xz": "application/x-xz",
      "zst": "application/zstd",
      "jar": "application/java-archive", "apk": "application/vnd.android.package-archive",
      "deb": "application/vnd.debian.binary-package",
      "iso": "application/x-iso9660-image", "sqlite": "application/vnd.sqlite3", "epub": "application/epub+zip",
      "png": "image/png", "apng": "image/apng", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
      "webp": "image/webp",
      "avif": "image/avif",
      "heic": "image/heic", "jxl": "image/jxl", "svg": "image/svg+xml", "ico": "image/x-icon", "bmp": "image/bmp",
      "tif": "image/tiff",
      "tiff": "image/tiff",
      "mp3": "audio/mpeg", "m4a": "audio/mp4", "aac": "audio/aac", "mid": "audio/midi", "midi": "audio/midi",
      "ogg": "audio/ogg", "oga": "audio/ogg",
      "opus": "audio/ogg",
      "wav": "audio/wav", "flac": "audio/flac", "weba": "audio/webm", "mp4": "video/mp4", "m4v": "video/mp4",
      "webm": "video/webm",
      "mov": "video/quicktime",
      "mkv": "video/x-matroska", "ogv": "video/ogg", "avi": "video/x-msvideo", "mpeg": "video/mpeg",
      "mpg": "video/mpeg", "3gp": "video/3gpp",
      "ts": "video/mp2t",
      "m2ts": "video/mp2t", "m4s": "video/iso.segment", "m3u8": "application/vnd.apple.mpegurl",
      "mpd": "application/dash+xml",
      "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf",
      "eot": "application/vnd.ms-fontobject",
      "rtf": "application/rtf",
      "doc": "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint",
      "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
      "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
      "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
      "odt": "application/vnd.oasis.opendocument.text",
      "ods": "application/vnd.oasis.opendocument.spreadsheet", "odp": "application/vnd.oasis.opendocument.presentation",
      "glb": "model/gltf-binary",
      "gltf": "model/gltf+json", "stl": "model/stl", "torrent": "application/x-bittorrent",
    ]
    let shown = """
      adoc bash bat c cc cfg clj cmake conf cpp cs cxx dart diff dockerfile el ex exs fish go gradle graphql groovy h hh hpp hs ini ipynb java jl jsx kt kts less lisp log lua m md
      markdown mk ml mm nim nix org patch php pl pm properties proto ps1 py pyi r rb rs rst sass scala scss sh sql srt sv swift tcl tex tf toml tsv tsx v vb vhd vim vue yaml yml
      zig zsh
      """
    for suffix in shown.split(whereSeparator: \.isWhitespace) { types[String(suffix)] = plain }
    return types
  }()

  /// - Parameter start: the first bytes of the file, up to a count.
  static func of(_ name: FileName, start: (Int) -> [UInt8]) -> String {
    let name = name.lowercased
    let dot = name.lastIndex(of: ".")
    let known = dot.flatMap { types[String(name[name.index(after: $0)...])] }
    switch known {
    // Both are called .ts: a film, and a program in TypeScript.
    case "video/mp2t": return isText(start(startSize)) ? text(plain, start) : "video/mp2t"
    case let type? where type.hasPrefix("text/") || type == "application/json" || type == "image/svg+xml":
      return text(type, start)
    case let type?: return type
    case nil: return isText(start(startSize)) ? text(plain, start) : binary
    }
  }

  /// A charset is said only where it is true: what is written in an older one says so itself, or the browser finds out.
  private static func text(_ type: String, _ start: (Int) -> [UInt8]) -> String {
    isUTF8(start(startSize)) ? type + "; charset=utf-8" : type
  }

  /// Nothing in it that no text has (the binary data bytes of the WHATWG's sniffing standard, 3).
  private static func isText(_ bytes: [UInt8]) -> Bool {
    if bytes.starts(with: [0xFE, 0xFF]) || bytes.starts(with: [0xFF, 0xFE]) { return true }
    return !bytes.contains { $0 <= 0x08 || $0 == 0x0B || (0x0E...0x1A).contains($0) || (0x1C...0x1F).contains($0) }
  }

  private static func isUTF8(_ bytes: [UInt8]) -> Bool {
    if String(validating: bytes, as: UTF8.self) != nil { return true }
    guard bytes.count == startSize else { return false }
    // The cut may go through a character, which has four bytes at most.
    return (1...3).contains { String(validating: bytes.dropLast($0), as: UTF8.self) != nil }
  }
}
