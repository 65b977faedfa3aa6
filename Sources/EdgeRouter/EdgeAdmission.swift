import Fabric
import Foundation
import Logging
import NIOCore
import PKI
import Transport
import Wire
import X509

/// Decides which SDK may open a channel: a token of an API session, and a client certificate that belongs to it
/// (edge-data-plane.md 2.6, 4.1).
struct EdgeAdmission: Sendable {
  /// Sessions reach the router a moment after the SDK that just logged in.
  private static let patience = TimeAmount.seconds(5)
  /// Bytes of the longest token that can be one: UUIDs have 36, and other controllers may make them a little longer.
  private static let tokenLimit = 64

  let core: RouterCore

  var acceptor: HelloAcceptor { HelloAcceptor { await judge($0) } }

  private func judge(_ request: HelloRequest) async -> HelloVerdict {
    let hello: EdgeMessages.Hello
    do { hello = try EdgeMessages.Hello(parsing: request.hello) } catch {
      return refuse(request, "unreadable hello: \(error)")
    }
    guard let token = hello.token, !token.isEmpty else { return refuse(request, "no api session token") }
    guard let leaf = request.peer.leaf else { return refuse(request, "no client certificate") }
    guard !token.hasPrefix("ey") else {
      return refuse(request, "invalid api session: access tokens are not in use in this network")
    }
    // What cannot be a token is not waited for.
    guard Self.isToken(token) else { return refuse(request, "invalid api session") }
    guard let session = await core.session(token, within: Self.patience) else {
      return refuse(request, "invalid api session")
    }
    guard await isOwner(request.peer, fingerprint: leaf.sha1Fingerprint, session) else {
      return refuse(request, "the client certificate does not belong to the api session")
    }
    if let reason = core.barred(identity: session.identityID) { return refuse(request, reason) }
    let share: IdentityShare
    let ticket: IdentityShare.Ticket
    do { (share, ticket) = try core.place(for: session.identityID) } catch {
      return refuse(request, "the identity has \(error.limit) channels open at this router; close one", isBusy: true)
    }
    let fingerprint = leaf.sha1Fingerprint
    let result = EdgeMessages.HelloResult(
      replyFor: request.hello.sequence, version: .current, channelID: hello.channelID ?? core.freshID(),
      routerID: core.routerID,
      underlayType: hello.underlayType, supportsBindSuccess: true)
    return .accept(headers: result.message().headers) { [core] underlay in
      let handle = ConnectionHandle(
        id: core.nextNumber(), loop: underlay.eventLoop, session: session, fingerprint: fingerprint,
        remoteAddress: underlay.peer.remoteAddress,
        localAddress: underlay.peer.localAddress, share: share, ticket: ticket)
      let (jobs, continuation) = AsyncStream.makeStream(of: EdgeConnection.Job.self)
      let connection = EdgeConnection(underlay: underlay, handle: handle, core: core, jobs: continuation)
      handle.connection = connection
      underlay.receiver = connection
      if !core.register(handle) { underlay.close() }
      return {
        await withDiscardingTaskGroup { group in
          for await job in jobs { group.addTask { await job() } }
          group.cancelAll()
        }
      }
    }
  }

  static func isToken(_ text: String) -> Bool {
    text.utf8.count <= tokenLimit
      && text.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
          UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"),
          UInt8(ascii: "_"):
          true
        default: false
        }
      }
  }

  /// The certificate is listed with the session, or names its identity (and session, if it names one) and was issued by
  /// this network.
  private func isOwner(_ peer: PresentedPeer, fingerprint: String, _ session: SessionTable.APISession) async -> Bool {
    if session.fingerprints.contains(fingerprint) { return true }
    guard let verified = await peer.verified(by: core.anchors, now: Date(), purpose: .clientAuth),
      let name = verified.spiffeID,
      name.identityID == session.identityID
    else {
      return false
    }
    return name.apiSessionID == nil || name.apiSessionID == session.id
  }

  /// - Parameter isBusy: the SDK may come back later with the same session.
  private func refuse(_ request: HelloRequest, _ reason: String, isBusy: Bool = false) -> HelloVerdict {
    core.logger.info("SDK refused", metadata: ["peer": "\(request.peer.remoteAddress)", "reason": "\(reason)"])
    let error =
      isBusy
      ? StructuredError(message: reason, code: .internal, retryHint: .tooBusy)
      : StructuredError(
        message: reason, code: .invalidAPISession, retryHint: EdgeErrorCode.invalidAPISession.usualRetryHint)
    let result = EdgeMessages.HelloResult(
      replyFor: request.hello.sequence, isSuccess: false, text: reason, version: .current, routerID: core.routerID,
      rejectClass: isBusy ? 1 : 2,
      error: error)
    return .reject(text: reason, headers: result.message().headers)
  }
}
