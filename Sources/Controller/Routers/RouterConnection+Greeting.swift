import Fabric
import Logging
import Model
import NIOCore
import PKI
import Store
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// What a router is told at the start, and whenever it asks for all of it again: controllers, API sessions, keys, the
/// data model.
extension RouterConnection {
  /// Addresses that a router may have for SDKs, and the characters of each (a host name has 253 at most).
  private static let addressLimit = 16
  private static let addressLength = 300
  /// A router that asks for whole states (all sessions, the whole data model) faster than its pace waits for them; one
  /// that would have to wait longer than this loses its channel.
  private static let patience = Duration.seconds(30)

  /// Without it a Go router stays away for good after a heartbeat timeout (fabric-planes.md 2.8).
  func controllerAddresses() -> Wire.Message {
    let address = PeerAddress(core.advertised).description
    let update = CtrlUpdateCtrlAddresses.with {
      $0.addresses = [address]
      $0.index = 1
      $0.isLeader = true
      $0.controllers = [
        .with {
          $0.id = core.pki.controllerID
          $0.endpoints = [.with { $0.address = address }]
        }
      ]
    }
    return Wire.Message(.updateCtrlAddresses, update)
  }

  func greet(_ connection: UInt64) async {
    let server = EdgeCtrlServerHello.with {
      $0.version = VersionInfo.current.version
      $0.data = ["instant": "true", "routerModel": "true"]
    }
    var request = Wire.Message(.serverHello, server)
    request.headers.set(ControlHeader.routerDataModel, true)
    do {
      let answer = try await channel.request(request, timeout: .seconds(30))
      try await welcome(answer, connection)
    } catch {
      // A transit router never answers; an edge router without it cannot serve SDKs.
      core.logger.warning("router gave no client hello", metadata: ["router": "\(router)", "error": "\(error)"])
    }
  }

  func welcome(_ answer: Wire.Message, _ connection: UInt64) async throws {
    let hello = try answer.decode(EdgeCtrlClientHello.self)
    var protocols: [String: String] = [:]
    for listener in hello.listeners.prefix(Self.addressLimit) where listener.hasAdvertise {
      let advertise = listener.advertise
      protocols[advertise.protocol] =
        "\(advertise.protocol)://\(HostPort(host: advertise.hostname, port: Int(advertise.port)))"
    }
    if protocols.isEmpty {
      for (name, port) in zip(hello.protocols, hello.protocolPorts).prefix(Self.addressLimit) {
        guard let port = Int(port) else { continue }
        protocols[name] = "\(name)://\(HostPort(host: hello.hostname, port: port))"
      }
    }
    // Every SDK is told these addresses, so their number and length are bounded.
    protocols = protocols.filter { $0.value.utf8.count <= Self.addressLength }
    core.routers.update(router) {
      $0.hostname = String(hello.hostname.prefix(Self.addressLength))
      $0.protocols = protocols
      $0.syncStatus = "SYNC_DONE"
    }
    await sendSessions(connection)
  }

  /// The full state of API sessions, then the keys that verify tokens (fabric-planes.md 4.8).
  func sendSessions(_ connection: UInt64) async {
    guard await isWholeStateDue(), fabric.listens(to: router, connection: connection) else { return }
    core.publication.join(
      router, connection: connection, channel: channel, form: .init(hello.capabilities), now: core.now)
    channel.post(Wire.Message(.changeSet, core.model { DataModel.keys($0) }))
  }

  /// Waits until the router may have a whole state; meanwhile nothing else that it says is read. - Returns: false when
  /// it never comes to that.
  private func isWholeStateDue() async -> Bool {
    let wait = core.wholeStatePace.take(router)
    guard wait <= Self.patience else {
      core.logger.warning(
        "a router asks for everything again and again; its channel is closed", metadata: ["router": "\(router)"])
      channel.close()
      return false
    }
    if wait > .zero { try? await Task.sleep(for: wait) }
    return !Task.isCancelled
  }

  func subscribe(_ request: EdgeCtrlSubscribeToDataModelRequest, _ connection: UInt64) async {
    // What a router missed may be a thousand changes.
    guard await isWholeStateDue() else { return }
    let isResumed = fabric.resume(
      router, connection: connection, request: request, timeline: core.store.timelineID,
      index: { core.model { $0.index } })
    guard !isResumed else { return }
    var whole = await core.wholeDataModel.state()
    while !fabric.subscribe(router, connection: connection, subscription: request.subscriptionID, whole: whole) {
      whole = await core.wholeDataModel.state(since: .now)
    }
  }
}
