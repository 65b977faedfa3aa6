import Wire

/// What the two ends of a circuit may tell each other through the controller while it is made (edge-data-plane.md 4.2,
/// fabric-planes.md 5.3). Routers hand it over; whatever is not listed was put there by a router and ends here.
public enum PeerData {
  /// What a dialler says to a host.
  private static let ofDialler = keys([
    HeaderID.publicKey, .callerID, .appData, .connectionMarker, ControlHeader.initiatorLocalAddress,
    ControlHeader.initiatorRemoteAddress,
  ])
  /// What a host says to a dialler.
  private static let ofHost = keys([HeaderID.publicKey, .appData, .connectionMarker])

  private static func keys(_ ids: [HeaderID]) -> Set<UInt32> { Set(ids.map(\.peerDataKey)) }

  /// - Parameters:
  ///   - claimed: what the dialler's router sent. Who dials is never taken from there.
  ///   - identity: the dialler, as its session proves it, and its name.
  public static func toHost(_ claimed: [UInt32: [UInt8]], identity: String, name: String) -> [UInt32: [UInt8]] {
    var data = claimed.filter { ofDialler.contains($0.key) }
    data[ControlHeader.dialingIdentityID.peerDataKey] = Array(identity.utf8)
    data[ControlHeader.dialingIdentityName.peerDataKey] = Array(name.utf8)
    return data
  }

  static func ofHost(_ claimed: [UInt32: [UInt8]]) -> [UInt32: [UInt8]] { claimed.filter { ofHost.contains($0.key) } }

  /// The terminator that a dialler had before, for strategy `sticky`.
  public static func stickiness(_ claimed: [UInt32: [UInt8]]) -> String? {
    claimed[ControlHeader.stickinessToken.peerDataKey].map { String(decoding: $0, as: UTF8.self) }
  }
}
