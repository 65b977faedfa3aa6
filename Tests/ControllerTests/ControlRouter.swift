import Fabric
import Foundation
import JSON
import Model
import NIOCore
import NIOPosix
import PKI
import SwiftProtobuf
import Testing
import Transport
import Wire
import WireSchemas

@testable import Controller

/// A router at the level of control messages: enrolled, connected, and remembering everything that it is sent.
final class ControlRouter: Sendable {
  let id: String
  let channel: MessageChannel
  private let inbox = Inbox()
  private let pump: Task<Void, Never>

  private actor Inbox {
    var messages: [Wire.Message] = []
    func put(_ message: Wire.Message) { messages.append(message) }
  }

  /// Of an invitation: the key and certificate a router got for it.
  static func enroll(_ controller: LiveController, _ invitation: Provisioning.Invitation) async throws
    -> LiveController.Credential
  {
    let key = try PrivateKey.generate(.p256)
    let csr: JSONValue = .string(try CSR.create(key: key, commonName: invitation.id, names: ["127.0.0.1"]))
    let token = try LiveController.oneTime(invitation.jwt)
    let answer = try await controller.send(
      "POST", "/enroll?method=erott&token=\(token)", ["certCsr": csr, "serverCertCsr": csr])
    return .init(
      key: key, chain: try CertificateChain(pem: try #require(answer.data["cert"]?.stringValue, "\(answer.text)")))
  }

  /// Connects and greets; on return the full state of sessions has arrived.
  /// - Parameter digests: whether the router announces that it wants digests, as ours do and OpenZiti's do not.
  static func connect(
    _ controller: LiveController, _ id: String, _ credential: LiveController.Credential, digests: Bool
  ) async throws
    -> ControlRouter
  {
    var capabilities = [RouterCapability.multiChannel, RouterCapability.dataModel]
    if digests { capabilities.append(RouterCapability.sessionDigests) }
    let hello = ControlMessages.RouterHello(routerID: id, version: .current, capabilities: CapabilityMask(capabilities))
    let tls = ClientTLS(
      chain: credential.chain, key: credential.key, trust: .leaf(try await HTTPSClient.leaf(of: controller.node.url)))
    let channel = try await MessageChannel.dial(
      address: PeerAddress(host: "127.0.0.1", port: controller.core.advertised.port), tls: tls, alpn: ALPN.control,
      hello: hello.message(),
      group: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(20))
    let router = ControlRouter(id: id, channel: channel)
    // The keys follow the sessions.
    try await router.wait("greeting") { $0.contains { $0.contentType == .changeSet } }
    return router
  }

  static func join(_ controller: LiveController, _ name: String, digests: Bool) async throws -> (
    ControlRouter, LiveController.Credential
  ) {
    let invitation = try await controller.node.provisioning.createEdgeRouter(name: name)
    let credential = try await enroll(controller, invitation)
    return (try await connect(controller, invitation.id, credential, digests: digests), credential)
  }

  private init(id: String, channel: MessageChannel) {
    self.id = id
    self.channel = channel
    let inbox = inbox
    pump = Task {
      for await message in channel.messages {
        await inbox.put(message)
        guard message.contentType == .serverHello else { continue }
        var answer = Wire.Message(
          .clientHello,
          EdgeCtrlClientHello.with { ($0.hostname, $0.protocols, $0.protocolPorts) = ("127.0.0.1", ["tls"], ["1"]) })
        answer.headers.set(ControlHeader.routerDataModel, true)
        channel.reply(answer, to: message)
      }
    }
  }

  var messages: [Wire.Message] { get async { await inbox.messages } }

  /// Whether these bytes were in anything that came.
  func wasSent(_ text: String) async -> Bool {
    let needle = Data(text.utf8)
    return await messages.contains { message in
      Data(message.body).range(of: needle) != nil
    }
  }

  func added() async throws -> [EdgeCtrlApiSession] {
    try await messages.filter { $0.contentType == .apiSessionAdded }.flatMap {
      try $0.decode(EdgeCtrlApiSessionAdded.self).apiSessions
    }
  }

  func removed() async throws -> EdgeCtrlApiSessionRemoved {
    try await messages.filter { $0.contentType == .apiSessionRemoved }.reduce(into: EdgeCtrlApiSessionRemoved()) {
      let message = try $1.decode(EdgeCtrlApiSessionRemoved.self)
      $0.tokens += message.tokens
      $0.ids += message.ids
    }
  }

  /// Waits until what came fulfils a condition; a quarter of a minute is a hang.
  func wait(_ what: String, _ condition: @Sendable ([Wire.Message]) throws -> Bool) async throws {
    for _ in 0..<1500 {
      if try await condition(messages) { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("did not come: \(what)")
  }

  /// Waits until everything that was posted so far has arrived: the controller answers in order.
  func settle() async throws {
    _ = try await channel.request(
      Wire.Message(.removeTerminators, CtrlRemoveTerminatorsRequest()), timeout: .seconds(20))
    // The answer came through the same loop; what came before it may still be on its way into the inbox.
    let count = await messages.count
    try await Task.sleep(for: .milliseconds(20))
    if await messages.count != count { try await settle() }
  }

  func close() {
    channel.close()
    pump.cancel()
  }
}
