import Access
import Fabric
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

extension EdgeRefusal {
  /// As SDKs see it (edge-data-plane.md 4.6).
  var error: StructuredError {
    switch self {
    case .invalidSession:
      StructuredError(
        message: EdgeMessages.StateClosed.invalidSessionText, code: .invalidSession, retryHint: .startOver)
    case .wrongType(let expected, let got):
      StructuredError(
        message:
          "rejecting \(expected.rawValue.lowercased()), invalid session type. expected \(expected.rawValue), got \(got)",
        code: .wrongSessionType,
        retryHint: .startOver)
    case .serviceGone: StructuredError(message: "service not found by id", code: .accessDenied)
    case .noAccess(let decision):
      StructuredError(message: "no policies provide access: \(decision.text)", code: .accessDenied)
    case .encryptionDataMissing:
      StructuredError(
        message: "encryption required on service, initiator did not send public header", code: .encryptionDataMissing,
        retryHint: .startOver)
    case .encryptionChanged:
      StructuredError(
        message: "the service's encryption was changed; bind again", code: .encryptionDataMissing, retryHint: .startOver
      )
    }
  }
}

/// What SDKs ask and the controller decides.
extension RouterCore {
  private static let circuitTimeout = TimeAmount.seconds(30)

  /// Judges a Connect here, asks the controller for the circuit, and tells the connection.
  func dial(_ request: EdgeMessages.Connect, ticket: UInt64, on handle: ConnectionHandle) async {
    let connID = request.connID
    func fail(_ error: StructuredError, circuit: String? = nil) {
      logger.info("dial refused", metadata: ["identity": "\(handle.session.identityID)", "reason": "\(error.message)"])
      handle.run { $0.failDial(connID, ticket: ticket, error, circuit: circuit) }
    }
    do {
      let presented = try await presentedSession(of: request.token)
      let name = try state.withLockedValue { state -> String? in
        try state.model.judge(
          presented, for: .dial, session: handle.session, hasPublicKey: request.options.publicKey != nil)
        return state.model.identities[presented.identityID]?.name
      }
      guard let control else {
        return fail(StructuredError(message: "no controller available, cannot create circuit", code: .internal))
      }
      var peerData = request.options.peerData
      peerData[ControlHeader.stickinessToken.peerDataKey] = request.options.stickinessToken
      peerData[ControlHeader.dialingIdentityID.peerDataKey] = Array(presented.identityID.utf8)
      peerData[ControlHeader.dialingIdentityName.peerDataKey] = name.map { Array($0.utf8) }
      let creation = ControlMessages.CreateCircuitV2(
        sessionToken: request.token, apiSessionToken: handle.session.token, fingerprints: [handle.fingerprint],
        terminatorInstanceID: request.options.terminatorIdentity ?? "", peerData: peerData)
      let reply: Wire.Message
      do { reply = try await control.request(creation.message(), timeout: Self.circuitTimeout) } catch {
        return fail(
          StructuredError(message: "no controller available, cannot create circuit (\(error))", code: .internal))
      }
      guard reply.contentType != .edgeError else {
        let failure = try ControlMessages.Failure(parsing: reply)
        let text =
          failure.code == .invalidSession
          ? EdgeMessages.StateClosed.invalidSessionText : failure.text.isEmpty ? "circuit failed" : failure.text
        return fail(
          StructuredError(message: text, code: failure.code, retryHint: failure.retryHint), circuit: failure.circuitID)
      }
      let created = try ControlMessages.CircuitCreated(parsing: reply)
      handle.run(
        { $0.completeDial(connID, ticket: ticket, created, sessionID: presented.sessionID) },
        otherwise: { self.abandonCircuit(created.circuitID) })
    } catch let refusal as EdgeRefusal {
      fail(refusal.error)
    } catch {
      fail(StructuredError(message: "unreadable answer of the controller: \(error)", code: .internal))
    }
  }

  func bind(_ bind: HostingQueue.Bind, on handle: ConnectionHandle) async {
    do {
      let presented = try await presentedSession(of: bind.request.tokenText)
      let isEncrypted = try judgeBind(presented, on: handle)
      handle.run { $0.acceptBind(bind, presented: presented, isEncrypted: isEncrypted) }
    } catch {
      let error = error.error
      logger.info("bind refused", metadata: ["identity": "\(handle.session.identityID)", "reason": "\(error.message)"])
      handle.run { $0.refuseBind(bind, error) }
    }
  }

  /// Makes a terminator known to the controller, with the token it was bound with. Called for new binds and after every
  /// reconnect.
  func establish(_ id: String) async {
    var failures = 0
    var backoff = Backoff(minimum: .milliseconds(500), maximum: .seconds(10))
    while !Task.isCancelled {
      // Without a controller it waits for the next channel, which establishes all hosts.
      guard let (hosted, details, control) = establishing(id) else { return }
      let bind = details.bind
      let request = EdgeCtrlCreateTerminatorV2Request.with {
        $0.address = hosted.id
        $0.sessionToken = bind.tokenText
        $0.fingerprints = [details.handle.fingerprint]
        $0.apiSessionToken = details.handle.session.token
        $0.cost = UInt32(bind.cost ?? 0)
        $0.precedence = EdgeCtrlTerminatorPrecedence(bind.precedence ?? .default)
        $0.instanceID = bind.terminatorIdentity ?? ""
        $0.instanceSecret = Data(bind.terminatorIdentitySecret ?? [])
        if let key = bind.publicKey { $0.peerData[HeaderID.publicKey.peerDataKey] = Data(key) }
      }
      do {
        let reply = try await control.request(Wire.Message(.createTerminatorV2, request), timeout: Self.circuitTimeout)
        let answer = try reply.decode(EdgeCtrlCreateTerminatorV2Response.self)
        switch answer.result {
        case .success:
          let confirmsAgain = reply.headers.bool(ControlHeader.confirmsAgain) ?? false
          details.handle.run { $0.established(hosted.connID, terminator: hosted.id, confirmsAgain: confirmsAgain) }
          return
        case .failedBusy: break
        default:
          failures += 1
          let hint = RetryHint(rawValue: answer.retryHint) ?? .default
          let code = EdgeErrorCode(rawValue: answer.errorCode) ?? .internal
          let text =
            code == .invalidSession
            ? EdgeMessages.StateClosed.invalidSessionText : answer.msg.isEmpty ? "terminator refused" : answer.msg
          if failures >= 3 || hint == .startOver || hint == .notRetriable {
            return dropTerminator(id, StructuredError(message: text, code: code, retryHint: hint))
          }
        }
      } catch {
        guard control.isOpen else { return }
        logger.warning("terminator not established", metadata: ["terminator": "\(id)", "error": "\(error)"])
      }
      try? await Task.sleep(backoff.next())
    }
  }

  private func establishing(_ id: String) -> (Hosted, BindDetails, MessageChannel)? {
    state.withLockedValue { state in
      guard let hosted = state.hosted[id], let details = state.binds[id], let control = state.control else {
        return nil
      }
      return (hosted, details, control)
    }
  }

  /// How long the controller may take with a report before the next one is made.
  private static let reportTimeout = TimeAmount.seconds(5)

  /// Tells the controller what a host said of its service. Returns when it was heard.
  func report(_ news: EdgeConnection.HostNews, on handle: ConnectionHandle) async {
    guard let token = state.withLockedValue({ $0.binds[news.terminatorID]?.bind.tokenText }), let control else {
      return
    }
    if news.cost != nil || news.precedence != nil {
      let request = EdgeCtrlUpdateTerminatorRequest.with {
        $0.sessionToken = token
        $0.fingerprints = [handle.fingerprint]
        $0.apiSessionToken = handle.session.token
        $0.terminatorID = news.terminatorID
        $0.updateCost = news.cost != nil
        $0.cost = UInt32(news.cost ?? 0)
        $0.updatePrecedence = news.precedence != nil
        $0.precedence = EdgeCtrlTerminatorPrecedence(news.precedence ?? .default)
      }
      _ = try? await control.request(Wire.Message(.updateTerminator, request), timeout: Self.reportTimeout)
    }
    if let isHealthy = news.isHealthy {
      let event = EdgeCtrlHealthEventRequest.with {
        $0.sessionToken = token
        $0.fingerprints = [handle.fingerprint]
        $0.apiSessionToken = handle.session.token
        $0.terminatorID = news.terminatorID
        $0.checkPassed = isHealthy
      }
      try? await control.send(Wire.Message(.terminatorHealthEvent, event))
    }
  }
}
