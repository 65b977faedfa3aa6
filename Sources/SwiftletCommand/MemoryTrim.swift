import CLinuxShims
import Logging
import ServiceLifecycle

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Gives back memory that is not needed any more: pages of code that only the start used, and heap that a burst left
/// free.
///
/// Starting a process touches most of a large executable once: relocations, type descriptions, parsers of options and
/// configuration. The kernel keeps all of it mapped, and around each page touched fifteen more. A tunneler at work
/// needs about 14 MB of it. Unmapping clean pages of a file costs a minor fault where one is needed again, and nothing
/// else: their content is the file's. A turn takes about a millisecond.
struct MemoryTrim: Service {
  /// After the start, and then again and again: what a burst needed is not needed after it.
  private static let delay = Duration.seconds(5)
  private static let interval = Duration.seconds(60)

  let logger: Logger

  func run() async throws {
    try? await cancelWhenGracefulShutdown {
      try await Task.sleep(for: Self.delay)
      while true {
        let released = Self.releaseCode()
        Self.releaseHeap()
        logger.trace("memory trimmed", metadata: ["code": "\(released)"])
        try await Task.sleep(for: Self.interval)
      }
    }
    // The others decide when the process ends.
    try? await gracefulShutdown()
  }

  private static func releaseHeap() {
    #if canImport(Glibc)
      malloc_trim(0)
    #endif
  }

  /// - Returns: bytes that were mapped there.
  private static func releaseCode() -> Int {
    #if os(Linux)
      guard let file = fopen("/proc/self/smaps", "r") else { return 0 }
      defer { fclose(file) }
      var line: UnsafeMutablePointer<CChar>?
      var capacity = 0
      defer { free(line) }
      var region: (start: UInt, end: UInt)?
      var resident = 0
      var changed = 0
      var released = 0
      // The counts of a region follow its head; the last of them ends it.
      while getline(&line, &capacity, file) > 0, let line {
        let text = String(cString: line)
        let words = text.split(separator: " ", omittingEmptySubsequences: true)
        guard let first = words.first else { continue }
        if !first.hasSuffix(":") {
          region = nil
          let bounds = first.split(separator: "-").compactMap { UInt($0, radix: 16) }
          // Code of a file. A page that this process changed is a copy of its own, counted as anonymous, and must not
          // be dropped.
          if bounds.count == 2, words.count >= 6, words[1] == "r-xp", words[5].hasPrefix("/") {
            region = (bounds[0], bounds[1])
          }
          (resident, changed) = (0, 0)
        } else if first == "Rss:" {
          resident = Int(words[1]) ?? 0
        } else if first == "Anonymous:" {
          changed = Int(words[1]) ?? 1
        } else if first == "VmFlags:", let found = region, changed == 0, resident > 0 {
          if madvise(UnsafeMutableRawPointer(bitPattern: found.start), Int(found.end - found.start), MADV_DONTNEED) == 0
          {
            released += resident * 1024
          }
        }
      }
      return released
    #else
      return 0
    #endif
  }
}
