/// A set of capabilities as a minimal big-endian unsigned integer (edge-data-plane.md 3.7, fabric-planes.md 2.4):
/// capability n is bit n, capability -n is bit 64-n.
public struct CapabilityMask: Sendable, Equatable {
  public private(set) var bits: UInt64

  public init(_ capabilities: [Int] = []) {
    bits = 0
    for capability in capabilities { insert(capability) }
  }

  /// Reads at most the low 64 bits; longer values are cut, as no capability lives above.
  public init(bytes: [UInt8]) { bits = bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) } }

  public mutating func insert(_ capability: Int) {
    guard let bit = Self.bit(capability) else { return }
    bits |= 1 << bit
  }

  public func contains(_ capability: Int) -> Bool { Self.bit(capability).map { bits >> $0 & 1 == 1 } ?? false }

  private static func bit(_ capability: Int) -> Int? {
    let bit = capability >= 0 ? capability : 64 + capability
    return (0..<64).contains(bit) ? bit : nil
  }

  /// No leading zero byte; empty for the empty set.
  public var bytes: [UInt8] { withUnsafeBytes(of: bits.bigEndian) { Array($0.drop { $0 == 0 }) } }
}

/// Capabilities of controllers and routers towards each other (fabric-planes.md 2.4). Upstream takes bits from both
/// ends, 1 upwards and 62 downwards; ours lie between.
public enum ControllerCapability {
  public static let createTerminatorV2 = 1
  public static let singleRouterLinkSource = 2
  public static let createCircuitV2 = 3
  public static let routerDataModel = 4
  public static let groupedCtrlChan = 5
  public static let jwtLegacySessions = 6
  /// Ours: heartbeats may name API sessions by digest.
  public static let sessionDigests = 40
}

public enum RouterCapability {
  public static let multiChannel = 1
  public static let connectV2 = 2
  public static let serviceSubscriptions = 4
  public static let postureChecks = 5
  public static let bindSuccess = 6
  /// Keeps a data model.
  public static let dataModel = -2
  /// Ours: the router wants digests of API session tokens instead of the tokens (20200-20202).
  public static let sessionDigests = 40
}

/// The version of a program, as header 4 carries it: five fields joined by a vertical bar.
public struct VersionInfo: Sendable, Equatable {
  public var version: String
  public var revision: String
  public var buildDate: String
  public var os: String
  public var arch: String

  public init(version: String, revision: String, buildDate: String, os: String, arch: String) {
    self.version = version
    self.revision = revision
    self.buildDate = buildDate
    self.os = os
    self.arch = arch
  }

  /// - Returns: nil unless there are exactly five fields.
  public init?(text: String) {
    let fields = text.split(separator: "|", maxSplits: 5, omittingEmptySubsequences: false)
    guard fields.count == 5 else { return nil }
    self.init(
      version: String(fields[0]), revision: String(fields[1]), buildDate: String(fields[2]), os: String(fields[3]),
      arch: String(fields[4]))
  }

  public var text: String { [version, revision, buildDate, os, arch].joined(separator: "|") }
}

extension VersionInfo {
  /// This build. The version is the level of the wire we speak, which peers use as a gate (fabric-planes.md 2.2).
  public static let current = VersionInfo(
    version: "v2.1.0", revision: "swiftlet-0.1.0", buildDate: "2026-11-26T00:00:00Z", os: "linux", arch: machine)

  #if arch(x86_64)
    private static let machine = "amd64"
  #elseif arch(arm64)
    private static let machine = "arm64"
  #else
    private static let machine = "unknown"
  #endif
}
