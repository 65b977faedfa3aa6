/// Media types by file extension (IANA).
enum ContentTypes {
  private static let types: [String: String] = [
    "html": "text/html", "htm": "text/html", "css": "text/css", "js": "text/javascript", "mjs": "text/javascript", "txt": "text/plain",
    "md": "text/markdown", "csv": "text/csv", "xml": "text/xml", "log": "text/plain", "ics": "text/calendar", "vtt": "text/vtt",
    "json": "application/json", "map": "application/json", "webmanifest": "application/manifest+json", "wasm": "application/wasm",
    "pdf": "application/pdf", "zip": "application/zip", "gz": "application/gzip", "tar": "application/x-tar", "7z": "application/x-7z-compressed",
    "bz2": "application/x-bzip2", "xz": "application/x-xz", "zst": "application/zstd", "jar": "application/java-archive",
    "epub": "application/epub+zip",
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "avif": "image/avif",
    "svg": "image/svg+xml",
    "ico": "image/x-icon", "bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff", "mp3": "audio/mpeg", "m4a": "audio/mp4", "ogg": "audio/ogg",
    "opus": "audio/ogg", "wav": "audio/wav", "flac": "audio/flac", "mp4": "video/mp4", "m4v": "video/mp4", "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska", "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf", "rtf": "application/rtf",
    "doc": "application/msword", "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", "odt": "application/vnd.oasis.opendocument.text",
  ]

  static func of(_ name: String) -> String {
    guard let dot = name.lastIndex(of: "."), let type = types[name[name.index(after: dot)...].lowercased()] else { return "application/octet-stream" }
    let isText = type.hasPrefix("text/") || type == "application/json" || type == "image/svg+xml"
    return isText ? type + "; charset=utf-8" : type
  }
}
