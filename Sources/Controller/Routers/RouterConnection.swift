import Fabric
import Logging
import Model
import NIOCore
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// The life of one router's control channel: greeting, then one message after the other (fabric-planes.md 2.9, 3). What
/// the messages mean is told by concern in the files beside this one.
struct RouterConnection: Sendable {
  let core: ControllerCore
  let fabric: ControllerFabric
  let channel: MessageChannel
  let router: String
  let hello: ControlMessages.RouterHello
  /// Fingerprint of the certificate that the router was admitted with.
  let certificate: String
  let log: RouterLog

  init(
    core: ControllerCore, fabric: ControllerFabric, channel: MessageChannel, router: String,
    hello: ControlMessages.RouterHello,
    certificate: String
  ) {
    self.core = core
    self.fabric = fabric
    self.channel = channel
    self.router = router
    self.hello = hello
    self.certificate = certificate
    log = RouterLog(core.logger, router: router)
  }

  var authorization: EdgeAuthorization { EdgeAuthorization(core: core) }

  func run() async {
    guard let connection = fabric.join(router, channel) else { return channel.close() }
    // It was judged before it joined. Whatever expels it from here on finds it.
    guard core.model({ $0.edgeRouters[router]?.admits(certificate) ?? false }) else {
      channel.close()
      _ = fabric.leave(router, connection: connection)
      return
    }
    let now = core.now
    core.routers.update(router) {
      guard connection > $0.connection else { return }
      $0.connection = connection
      $0.isOnline = true
      $0.connectedAt = now
      $0.syncStatus = "SYNC_HELLO_WAIT"
      $0.version = RouterVersionInfo(
        version: hello.version.version, revision: hello.version.revision, buildDate: hello.version.buildDate,
        os: hello.version.os,
        arch: hello.version.arch)
    }
    core.logger.info("router connected", metadata: ["router": "\(router)", "version": "\(hello.version.version)"])
    channel.post(controllerAddresses())
    await withDiscardingTaskGroup { group in
      group.addTask { await greet(connection) }
      group.addTask { await validateTerminators() }
      group.addTask { await reconcileCircuits() }
      // What a router that was expelled had sent before is in the queue still.
      for await message in channel.messages where fabric.listens(to: router, connection: connection) {
        await handle(message, connection)
      }
      group.cancelAll()
    }
    channel.close()
    core.publication.leave(router, connection: connection)
    guard fabric.leave(router, connection: connection) else { return }
    core.routers.update(router) {
      // A newer connection of the router may have said more already.
      guard $0.connection == connection else { return }
      $0.isOnline = false
      $0.protocols = [:]
      $0.identities = []
      $0.syncStatus = "SYNC_DISCONNECTED"
    }
    core.logger.info("router disconnected", metadata: ["router": "\(router)"])
  }

  // MARK: Messages

  private func handle(_ message: Wire.Message, _ connection: UInt64) async {
    do {
      switch message.contentType {
      case .createCircuitV2, .createCircuitV3: createCircuit(message)
      case .routeResult:
        let result = try ControlMessages.RouteResult(parsing: message)
        let outcome: CircuitEngine.RouteOutcome =
          switch result.outcome {
          case .success(let peerData): .success(peerData: peerData)
          case .failure(let text, let code): .failure(text: text, code: code)
          }
        fabric.handle(
          .routeResult(router: router, circuit: result.circuitID, attempt: result.attempt, outcome: outcome))
      case .fault: fault(try message.decode(CtrlFault.self))
      case .circuitConfirmation: confirmation(try message.decode(CtrlCircuitConfirmation.self))
      case .createTerminatorV2: createTerminator(message)
      case .updateTerminator: updateTerminator(message)
      case .removeTerminators: removeTerminators(try message.decode(CtrlRemoveTerminatorsRequest.self), message)
      case .validateTerminatorsV2Response: terminatorStates(message)
      case .subscribeToDataModel:
        await subscribe(try message.decode(EdgeCtrlSubscribeToDataModelRequest.self), connection)
      case .clientHello: try await welcome(message, connection)
      case .apiSessionHeartbeat: try heartbeats(try message.decode(EdgeCtrlApiSessionHeartbeat.self))
      case .requestClientReSync: await sendSessions(connection)
      case .validateSessions: try validateSessions(try message.decode(EdgeCtrlValidateSessionsRequest.self))
      case .connectEvents: try connectEvents(try message.decode(EdgeCtrlConnectEvents.self))
      case .verifyRouter: try verifyRouter(try message.decode(CtrlVerifyRouter.self), message)
      case .extendRouterEnrollment:
        try await extendCertificates(try message.decode(EdgeCtrlEnrollmentExtendRouterRequest.self), connection)
      case .verifyRouterExtension: await verifyExtension(message, connection)
      case .requestClusterMembers: channel.post(controllerAddresses())
      case .routerInterfaces: channel.reply(Wire.Message.result(success: true, text: "", replyTo: message), to: message)
      case .inspect:
        channel.reply(Wire.Message(.inspectAnswer, CtrlInspectResponse.with { $0.success = true }), to: message)
      case .createTunnelCircuitV2, .createTunnelTerminatorV2, .createTunnelAPISession, .createCircuitForService,
        .updateTunnelTerminator:
        let refusal = ControlMessages.Failure(
          replyFor: message.sequence, text: "tunneling not enabled", code: .tunnelingNotEnabled)
        channel.reply(refusal.message(), to: message)
      case .quiesce, .dequiesce: quiesce(message)
      case .metrics:
        fabric.handle(.usage(router: router, UsageRecord.claims(try message.decode(MetricsMetricsMessage.self))))
      default: break  // Links, alerts and traces: of no consequence in a network whose circuits stay on one router.
      }
    } catch {
      log.write(
        .warning, "unreadable message of a router", ["type": "\(message.contentType.rawValue)", "error": "\(error)"])
    }
  }
}
