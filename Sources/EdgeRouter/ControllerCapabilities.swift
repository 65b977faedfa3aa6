import Transport
import Wire

/// What the controller at the other end of a control channel said it can do (fabric-planes.md 2.4).
extension MessageChannel {
  var controllerCapabilities: CapabilityMask {
    CapabilityMask(
      bytes: helloHeaders[ControlHeader.capabilities] ?? helloHeaders[ControlHeader.legacyCapabilities] ?? [])
  }

  /// Whether heartbeats may name sessions by digest.
  var takesSessionDigests: Bool { controllerCapabilities.contains(ControllerCapability.sessionDigests) }
}
