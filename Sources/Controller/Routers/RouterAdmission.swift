import Logging
import Model
import PKI
import Transport
import Wire

/// Admits routers to their control channel (fabric-planes.md 2.5): whoever claims to be a router must hold the key of
/// the certificate it enrolled with.
struct RouterAdmission: Sendable {
  private static let capabilities = CapabilityMask([
    ControllerCapability.createTerminatorV2, ControllerCapability.singleRouterLinkSource,
    ControllerCapability.createCircuitV2,
    ControllerCapability.routerDataModel, ControllerCapability.jwtLegacySessions, ControllerCapability.sessionDigests,
  ])

  let core: ControllerCore
  let fabric: ControllerFabric

  var acceptor: HelloAcceptor { HelloAcceptor { await judge($0) } }

  private func judge(_ request: HelloRequest) async -> HelloVerdict {
    let logger = core.logger
    func refuse(_ why: String) -> HelloVerdict {
      logger.warning("router refused", metadata: ["peer": "\(request.peer.remoteAddress)", "reason": "\(why)"])
      return .close
    }
    // A certificate that begins later was written by a clock of ours that ran ahead: the fingerprint, judged below, is
    // the one this network issued, and over this channel the router gets a better one.
    guard
      let peer = await request.peer.verified(
        by: core.pki.anchors, now: core.now.date, purpose: .clientAuth, ignoreLeafStart: true)
    else {
      return refuse("no valid certificate of this network")
    }
    let hello: ControlMessages.RouterHello
    do { hello = try ControlMessages.RouterHello(parsing: request.hello) } catch { return refuse("hello: \(error)") }
    guard let router = core.model({ $0.edgeRouters[hello.routerID] }) else {
      return refuse("router \(hello.routerID) is not known; create it and enroll it")
    }
    guard let fingerprint = router.fingerprint, router.isVerified else {
      return refuse("router \(router.name) has not enrolled")
    }
    guard fingerprint == peer.fingerprint else {
      return refuse("router \(router.name) presented certificate \(peer.fingerprint), enrolled was \(fingerprint)")
    }
    guard !router.disabled, !core.unstored.contains(.edgeRouters, router.id) else {
      return refuse("router \(router.name) is disabled")
    }
    guard !fabric.isConnected(router.id) else { return refuse("router \(router.name) is already connected") }
    let answer = ControlMessages.ControllerHelloResult(
      replyFor: request.hello.sequence, version: .current, controllerID: core.pki.controllerID,
      capabilities: Self.capabilities,
      channelID: hello.channelID ?? EntityID.short(), isGrouped: hello.isGrouped, underlayType: hello.underlayType,
      groupSecret: hello.isGrouped ? hello.groupSecret ?? RandomSource.bytes(16) : nil)
    return .accept(headers: answer.message().headers) { [core, fabric] underlay in
      let channel = MessageChannel(underlay: underlay, helloHeaders: request.hello.headers)
      return {
        await RouterConnection(
          core: core, fabric: fabric, channel: channel, router: router.id, hello: hello, certificate: fingerprint
        ).run()
      }
    }
  }
}

extension EdgeRouterEntity {
  /// Whether the router may be connected, with that certificate.
  func admits(_ certificate: String) -> Bool { isVerified && !disabled && fingerprint == certificate }
}
