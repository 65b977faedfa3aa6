import Fabric
import Foundation
import Model
import PKI
import SwiftProtobuf
import Testing
import Transport
import Wire
import WireSchemas

@testable import Controller

@Suite("Routers that must not be heard, and those that ask for too much", .timeLimit(.minutes(5)))
struct RouterExpulsionTests {
  private static func extend(_ router: ControlRouter, verified: Bool = true) throws -> Wire.Message {
    let csr = try CSR.create(key: try PrivateKey.generate(.p256), commonName: router.id, names: ["127.0.0.1"])
    return Wire.Message(
      .extendRouterEnrollment,
      EdgeCtrlEnrollmentExtendRouterRequest.with {
        ($0.clientCertCsr, $0.serverCertCsr, $0.requireVerification) = (csr, csr, verified)
      })
  }

  @Test("what an expelled router says over a channel that is still open gets it neither a certificate nor sessions")
  func expelled() async throws {
    let controller = try await LiveController.start()
    try await controller.node.provisioning.createEdgeRouterPolicy(
      name: "all", identityRoles: ["#all"], edgeRouterRoles: ["#all"])
    let (router, _) = try await ControlRouter.join(controller, "r", digests: true)
    _ = try await controller.token(try await controller.enrolled("alice"))
    try await router.settle()
    let before = try #require(controller.core.model { $0.edgeRouters[router.id] })
    let heard = try await router.added().count
    controller.core.fabric.expel(router.id)
    router.channel.post(try Self.extend(router, verified: false))
    router.channel.post(try Self.extend(router))
    router.channel.post(Wire.Message(contentType: .requestClientReSync))
    try await router.channel.send(Wire.Message(contentType: .requestClientReSync))
    router.channel.close()
    for _ in 0..<1500 where !controller.node.connectedRouters.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
    #expect(controller.node.connectedRouters.isEmpty)
    let after = try #require(controller.core.model { $0.edgeRouters[router.id] })
    #expect(after.fingerprint == before.fingerprint && after.unverifiedFingerprint == nil)
    #expect(try await router.added().count == heard)
    router.close()
    await controller.stop()
  }

  @Test("a router that is expelled between its hello and its first message has no channel")
  func expelledMeanwhile() async throws {
    let controller = try await LiveController.start()
    let (router, _) = try await ControlRouter.join(controller, "r", digests: true)
    let other = try await controller.node.provisioning.createEdgeRouter(name: "other")
    let hello = ControlMessages.RouterHello(routerID: other.id, version: .current, capabilities: CapabilityMask([]))
    let core = controller.core
    // It was admitted with a certificate that is void by now.
    await RouterConnection(
      core: core, fabric: core.fabric, channel: router.channel, router: other.id, hello: hello, certificate: "void"
    ).run()
    #expect(!core.fabric.isConnected(other.id) && !core.routers.isOnline(other.id))
    router.close()
    await controller.stop()
  }

  @Test(
    "a router that renews its certificates without end gets ten, and one that asks for everything without end loses its channel"
  )
  func greedy() async throws {
    let controller = try await LiveController.start()
    let (router, _) = try await ControlRouter.join(controller, "r", digests: true)
    let request = try Self.extend(router)
    for _ in 0..<30 { router.channel.post(request) }
    try await router.settle()
    let got = await router.messages.filter { $0.contentType == .routerCertificates }.count
    // One more a minute, should the test take that long.
    #expect((10...15).contains(got))
    // As if it had asked for so much before.
    for _ in 0..<100 { _ = controller.core.wholeStatePace.take(router.id) }
    router.channel.post(Wire.Message(contentType: .requestClientReSync))
    await router.channel.waitUntilClosed()
    router.close()
    await controller.stop()
  }

  @Test("whole states are granted twenty at once and then one a second, by router and not by channel")
  func pace() {
    let pace = RouterPace(.wholeStates)
    let start = ContinuousClock.now
    for _ in 0..<20 { #expect(pace.take("a", now: start) == .zero) }
    #expect(pace.take("a", now: start) == .seconds(1) && pace.take("a", now: start) == .seconds(2))
    #expect(pace.take("b", now: start) == .zero)
    #expect(pace.take("a", now: start + .seconds(3)) == .zero)
    #expect(!pace.admits("a", now: start + .seconds(3)) && pace.admits("a", now: start + .seconds(4)))
  }

  @Test("routers that ask for the data model while it changes share one copy, and each has every change once")
  func wholeModel() async throws {
    let controller = try await LiveController.start()
    let (router, _) = try await ControlRouter.join(controller, "r", digests: true)
    let rounds = 12
    for round in 0..<rounds {
      let request = EdgeCtrlSubscribeToDataModelRequest.with { $0.subscriptionID = "s\(round)" }
      router.channel.post(Wire.Message(.subscribeToDataModel, request))
      try await router.settle()
      _ = try await controller.node.provisioning.createService(name: "svc\(round)", encryptionRequired: false)
    }
    try await router.settle()
    let made = await controller.core.wholeDataModel.made
    #expect(made < rounds / 2)
    let messages = await router.messages
    for round in 0..<rounds {
      let mine = messages.filter { $0.headers.string(ControlHeader.subscriptionID) == "s\(round)" }
      let first = try #require(mine.first)
      #expect(first.contentType == .dataState)
      var index = try first.decode(EdgeCtrlDataState.self).endIndex
      for change in try mine.dropFirst().map({ try $0.decode(EdgeCtrlChangeSet.self) }) {
        #expect(change.previousIndex == index)
        index = change.index
      }
      if round == rounds - 1 { #expect(index == controller.core.model { $0.index }) }
    }
    router.close()
    await controller.stop()
  }
}
