import Fabric
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// Keeps the control channel: dials, greets, carries out what the controller says, and dials again (fabric-planes.md
/// 2).
struct ControlChannel: Sendable {
  private static let subscriptionSeconds: UInt32 = 300
  private static let renewal = TimeAmount.seconds(200)
  private static let parallelHosts = 32
  /// Circuits in one usage message.
  private static let usageBatch = 1000

  let core: RouterCore
  let controllers: [PeerAddress]
  /// Where the edge listener is bound, and what SDKs are told.
  let bound: PeerAddress
  let advertised: PeerAddress
  let identity: RouterIdentity
  let renewal: RouterRenewal
  let heartbeat: TimeAmount
  let usageInterval: TimeAmount
  let logger: Logger

  /// Runs until cancelled.
  func run() async {
    var backoff = Backoff(minimum: .milliseconds(100), maximum: .seconds(5))
    var known = controllers
    var turn = 0
    while !Task.isCancelled {
      let address = known[turn % known.count]
      turn += 1
      do {
        let channel = try await dial(address)
        logger.info("controller connected", metadata: ["address": "\(address)"])
        let began = NIODeadline.now()
        let learned = await serve(channel)
        if NIODeadline.now() - began > .seconds(10) { backoff.reset() }
        if !Task.isCancelled { logger.warning("controller lost; circuits go on", metadata: ["address": "\(address)"]) }
        // Configured addresses stay: a list from a controller may be of another network view.
        known = controllers + learned.filter { !controllers.contains($0) }
      } catch {
        if !Task.isCancelled {
          logger.warning("controller not reachable", metadata: ["address": "\(address)", "error": "\(error)"])
        }
      }
      try? await Task.sleep(backoff.next())
    }
  }

  private func dial(_ address: PeerAddress) async throws -> MessageChannel {
    let hello = ControlMessages.RouterHello(
      routerID: core.routerID, version: .current,
      capabilities: CapabilityMask([
        RouterCapability.multiChannel, RouterCapability.bindSuccess, RouterCapability.dataModel,
        RouterCapability.sessionDigests,
      ]))
    let channel = try await MessageChannel.dial(
      address: address, tls: identity.client, alpn: ALPN.control, hello: hello.message(),
      group: MultiThreadedEventLoopGroup.singleton)
    guard channel.controllerCapabilities.contains(ControllerCapability.jwtLegacySessions) else {
      channel.close()
      throw TransportError.protocolViolation("the controller does not issue session tokens that routers can verify")
    }
    return channel
  }

  // MARK: A channel's life

  /// What belongs to one channel.
  private final class Subscription: Sendable {
    private let state = NIOLockedValueBox(("", NIODeadline.now()))
    var id: String { state.withLockedValue { $0.0 } }
    var age: TimeAmount { NIODeadline.now() - state.withLockedValue { $0.1 } }
    func begin(_ id: String) { state.withLockedValue { $0 = (id, .now()) } }
  }

  /// - Returns: addresses of controllers learned meanwhile.
  private func serve(_ channel: MessageChannel) async -> [PeerAddress] {
    let subscription = Subscription()
    renewal.begin()
    subscribe(channel, subscription, isRenewal: false)
    core.connected(channel)
    var learned: [PeerAddress] = []
    await withTaskCancellationHandler {
      await withDiscardingTaskGroup { group in
        group.addTask { await keepUp(channel, subscription) }
        group.addTask { await establishHosts() }
        group.addTask { await reportUsage(channel) }
        for await message in channel.messages {
          if message.contentType == .updateCtrlAddresses {
            learned = addresses(message) ?? learned
          } else {
            handle(message, channel, subscription, &group)
          }
        }
        group.cancelAll()
      }
    } onCancel: {
      channel.close()
    }
    core.disconnected(channel)
    channel.close()
    return learned
  }

  private func addresses(_ message: Wire.Message) -> [PeerAddress]? {
    guard let update = try? message.decode(CtrlUpdateCtrlAddresses.self) else { return nil }
    let texts = update.controllers.flatMap { $0.endpoints.map(\.address) } + update.addresses
    var found: [PeerAddress] = []
    for text in texts.prefix(64) {
      if let address = try? PeerAddress(parsing: text), !found.contains(address) { found.append(address) }
    }
    return found.isEmpty ? nil : found
  }

  /// Heartbeats of API sessions, renewal of the subscription and of certificates.
  private func keepUp(_ channel: MessageChannel, _ subscription: Subscription) async {
    while !Task.isCancelled {
      renewal.askIfDue(channel)
      do { try await Task.sleep(heartbeat) } catch { return }
      let names = core.sessionsInUse(for: channel)
      for start in stride(from: 0, to: names.count, by: 10_000) {
        let part = Array(names[start..<min(start + 10_000, names.count)])
        channel.post(Wire.Message(.apiSessionHeartbeat, EdgeCtrlApiSessionHeartbeat.with { $0.tokens = part }))
      }
      if subscription.age > Self.renewal { subscribe(channel, subscription, isRenewal: true) }
    }
  }

  /// Tells the usage of circuits (fabric-planes.md 3.6). Nothing is taken while nobody listens.
  private func reportUsage(_ channel: MessageChannel) async {
    let seconds = UInt64(max(1, usageInterval.nanoseconds / 1_000_000_000))
    while !Task.isCancelled {
      // A cancelled sleep ends at once: what is left is told while the channel still stands.
      try? await Task.sleep(usageInterval)
      guard channel.isOpen else { return }
      let samples = core.takeUsage()
      let start = Int64(Date().timeIntervalSince1970) - Int64(seconds)
      for index in stride(from: 0, to: samples.count, by: Self.usageBatch) {
        let batch = samples[index..<min(index + Self.usageBatch, samples.count)]
        channel.post(Wire.Message(.metrics, usage(batch, start, seconds)))
      }
    }
  }

  private func usage(_ samples: ArraySlice<UsageSample>, _ start: Int64, _ seconds: UInt64) -> MetricsMetricsMessage {
    .with { message in
      message.eventID = core.freshID()
      message.sourceID = core.routerID
      message.usageCounters = [
        .with { counter in
          counter.intervalStartUtc = start
          counter.intervalLength = seconds
          for sample in samples {
            counter.buckets[sample.circuit] = .with {
              // Both ends are here: what enters at one leaves at the other.
              $0.values = [
                UsageRecord.ingressReceived: sample.fromClient, UsageRecord.egressSent: sample.fromClient,
                UsageRecord.egressReceived: sample.fromHost, UsageRecord.ingressSent: sample.fromHost,
              ].filter { $0.value > 0 }
              $0.tags = ["serviceId": sample.serviceID, "clientId": sample.clientID, "hostId": sample.hostID]
            }
          }
        }
      ]
    }
  }

  /// Makes all hosts known again, a few at a time.
  private func establishHosts() async {
    let ids = core.hostedIDs
    await withDiscardingTaskGroup { group in
      for lane in 0..<min(Self.parallelHosts, ids.count) {
        group.addTask {
          for index in stride(from: lane, to: ids.count, by: Self.parallelHosts) { await core.establish(ids[index]) }
        }
      }
    }
  }

  private func subscribe(_ channel: MessageChannel, _ subscription: Subscription, isRenewal: Bool) {
    let id = isRenewal ? subscription.id : core.freshID()
    subscription.begin(id)
    let position = core.modelPosition
    let request = EdgeCtrlSubscribeToDataModelRequest.with {
      $0.currentIndex = position.index
      $0.timelineID = position.timeline
      $0.subscriptionDurationSeconds = Self.subscriptionSeconds
      $0.subscriptionID = id
      $0.renew = isRenewal
    }
    channel.post(Wire.Message(.subscribeToDataModel, request))
  }

  // MARK: Messages

  private func handle(
    _ message: Wire.Message, _ channel: MessageChannel, _ subscription: Subscription, _ group: inout DiscardingTaskGroup
  ) {
    do {
      switch message.contentType {
      case .serverHello: greet(message, channel)
      case .dataState:
        guard belongs(message, subscription) else { return }
        _ = core.apply(try message.decode(EdgeCtrlDataState.self))
      case .changeSet:
        let change = try message.decode(EdgeCtrlChangeSet.self)
        guard change.isSynthetic || belongs(message, subscription) else { return }
        if !core.apply(change) {
          logger.info(
            "changes of the data model are missing; subscribing anew",
            metadata: ["index": "\(core.modelPosition.index)"])
          subscribe(channel, subscription, isRenewal: false)
        }
      case .apiSessionAdded: try addSessions(message)
      case .apiSessionUpdated: core.update(try message.decode(EdgeCtrlApiSessionUpdated.self))
      case .apiSessionRemoved: core.remove(try message.decode(EdgeCtrlApiSessionRemoved.self))
      case .sessionRemoved:
        let removed = try message.decode(EdgeCtrlSessionRemoved.self)
        core.remove(serviceSessions: Set(removed.ids))
      case .route:
        group.addTask { if let result = await core.route(message) { channel.post(result.message()) } }
      case .routerCertificates: group.addTask { await renewal.received(message, channel) }
      case .unroute: core.unroute(try message.decode(CtrlUnroute.self))
      case .validateTerminatorsV2:
        let states = core.terminatorStates(try message.decode(CtrlValidateTerminatorsV2Request.self))
        channel.reply(Wire.Message(.validateTerminatorsV2Response, states), to: message)
      case .inspect:
        let request = try message.decode(CtrlInspectRequest.self)
        channel.reply(Wire.Message(.inspectAnswer, core.inspect(request.requestedValues)), to: message)
      case .validateDataModel:
        channel.reply(Wire.Message(.validateDataModelResponse, EdgeCtrlRouterDataModelValidateResponse()), to: message)
      case .togglePipeTraces:
        channel.reply(
          Wire.Message.result(success: false, text: "traces are not available", replyTo: message), to: message)
      default: break  // Peers, links, cluster leaders: of no consequence for circuits that stay on one router.
      }
    } catch {
      logger.warning(
        "unreadable message of the controller",
        metadata: ["type": "\(message.contentType.rawValue)", "error": "\(error)"])
    }
  }

  private func belongs(_ message: Wire.Message, _ subscription: Subscription) -> Bool {
    message.headers.string(ControlHeader.subscriptionID).map { $0 == subscription.id } ?? true
  }

  private struct SyncState: Decodable {
    var id: String
    var isLast: Bool
  }

  private func addSessions(_ message: Wire.Message) throws {
    let added = try message.decode(EdgeCtrlApiSessionAdded.self)
    let sync = message.headers[ControlHeader.syncState].flatMap {
      try? JSONDecoder().decode(SyncState.self, from: Data($0))
    }
    core.add(added, syncID: sync?.id, isLast: sync?.isLast ?? false)
  }

  private func greet(_ request: Wire.Message, _ channel: MessageChannel) {
    let advertised = self.advertised
    let bound = self.bound
    let hello = EdgeCtrlClientHello.with {
      $0.version = VersionInfo.current.version
      $0.hostname = advertised.host
      $0.protocols = ["tls"]
      $0.protocolPorts = ["\(advertised.port)"]
      $0.listeners = [
        .with {
          $0.address = .with {
            $0.value = bound.description
            $0.protocol = "tls"
            $0.hostname = bound.host
            $0.port = Int32(bound.port)
          }
          $0.advertise = .with {
            $0.value = advertised.description
            $0.protocol = "tls"
            $0.hostname = advertised.host
            $0.port = Int32(advertised.port)
          }
        }
      ]
    }
    var answer = Wire.Message(.clientHello, hello)
    if request.headers.bool(ControlHeader.routerDataModel) == true {
      answer.headers.set(ControlHeader.routerDataModel, true)
      answer.headers.set(ControlHeader.dataModelIndex, core.modelPosition.index)
    }
    channel.reply(answer, to: request)
  }
}
