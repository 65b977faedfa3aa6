import Foundation

/// Files and sockets that the process may have open.
enum DescriptorLimit {
  /// Takes what the system allows at most, as servers do: the limit that shells set is made for programs that call
  /// `select`.
  /// - Returns: descriptors that the process may open.
  static func raised() -> Int {
    var limit = rlimit()
    #if canImport(Glibc)
      let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    #else
      let resource = RLIMIT_NOFILE
    #endif
    guard getrlimit(resource, &limit) == 0 else { return 1024 }
    if limit.rlim_cur < limit.rlim_max {
      var wanted = limit
      wanted.rlim_cur = limit.rlim_max
      if setrlimit(resource, &wanted) == 0 { limit = wanted }
    }
    return Int(clamping: limit.rlim_cur)
  }
}
