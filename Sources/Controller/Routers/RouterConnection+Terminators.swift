import Access
import Authentication
import Fabric
import Foundation
import Logging
import Model
import NIOCore
import SwiftProtobuf
import Transport
import Wire
import WireSchemas

/// What a router asks and tells of terminators.
extension RouterConnection {
  /// Bytes of a terminator id, and of the name of an instance.
  private static let idLimit = 256
  private static let instanceLimit = 4096

  func createTerminator(_ message: Wire.Message) {
    guard let request = try? message.decode(EdgeCtrlCreateTerminatorV2Request.self) else { return }
    func answer(_ result: EdgeCtrlCreateTerminatorResult, _ error: StructuredError? = nil, confirmsAgain: Bool = false)
    {
      let body = EdgeCtrlCreateTerminatorV2Response.with {
        $0.terminatorID = request.address
        $0.result = result
        $0.msg = error?.message ?? ""
        $0.errorCode = error?.code.rawValue ?? 0
        $0.retryHint = error?.retryHint.rawValue ?? 0
      }
      if let error { log.write(.info, "terminator refused", ["reason": "\(error.message)"]) }
      var response = Wire.Message(.createTerminatorV2Response, body)
      if confirmsAgain { response.headers.set(ControlHeader.confirmsAgain, true) }
      channel.reply(response, to: message)
    }
    func refuse(_ text: String, _ code: EdgeErrorCode) {
      answer(.failedOther, StructuredError(message: text, code: code, retryHint: .notRetriable))
    }
    do throws(EdgeAuthorization.Refusal) {
      let (grant, service) = try host(
        session: request.sessionToken, apiSession: request.apiSessionToken, fingerprints: request.fingerprints)
      guard !request.address.isEmpty, request.address.utf8.count <= Self.idLimit else {
        return refuse("invalid terminator id", .invalidTerminator)
      }
      guard request.instanceID.utf8.count <= Self.instanceLimit else {
        return refuse("the instance has more than \(Self.instanceLimit) bytes", .invalidInstanceID)
      }
      guard request.cost <= 65535 else { return refuse("cost \(request.cost) exceeds 65535", .invalidCost) }
      let terminator = LiveTerminator(
        id: request.address, serviceID: service.id, routerID: router, hostID: grant.identity,
        instance: request.instanceID, address: request.address,
        cost: Int(request.cost), precedence: Precedence(request.precedence),
        peerData: request.peerData.mapValues { Array($0) },
        createdAt: core.now)
      let standing = core.standing(of: grant)
      switch fabric.offer(terminator, identity: standing) {
      case .idTaken: return refuse("terminator id \(terminator.id) is taken", .invalidTerminator)
      case .instanceTaken:
        return refuse(
          "instance \(terminator.instance) of the service is hosted by another identity", .invalidInstanceID)
      case .tooMany(let limit): return refuse("the router has \(limit) terminators, and no more are taken", .internal)
      case .tooManyBytes(let limit):
        return refuse("the router's terminators have \(limit) bytes, and no more are taken", .internal)
      case nil: break
      }
      // Between judgement and entry the right may have gone, or what the identity says of hosting; whoever changes it
      // from here on finds the terminator.
      settle(grant, since: standing)
      do throws(EdgeAuthorization.Refusal) {
        _ = try host(
          session: request.sessionToken, apiSession: request.apiSessionToken, fingerprints: request.fingerprints)
      } catch {
        fabric.handle(.withdraw(router: router, terminators: [terminator.id]))
        throw error
      }
      core.facts.terminatorMade()
      answer(
        .success,
        confirmsAgain: core.sessions.apiSession(token: request.apiSessionToken, now: core.now)?.sdkInfo?
          .missesFirstConfirmation ?? false)
    } catch {
      let kind: EdgeCtrlCreateTerminatorResult =
        [.invalidAPISession, .invalidSession].contains(error.error.code) ? .failedInvalidSession : .failedOther
      answer(kind, error.error)
    }
  }

  /// Who hosts, and what, as the sessions prove it.
  private func host(session token: String, apiSession: String, fingerprints: [String]) throws(EdgeAuthorization.Refusal)
    -> (Grant, EdgeService)
  {
    let api = try authorization.apiSession(token: apiSession, fingerprints: fingerprints)
    let session = try authorization.serviceSession(token: token, of: api, type: .bind)
    let service = try authorization.service(session.serviceId, identity: api.identityId, action: .bind, router: router)
    return (Grant(identity: api.identityId, service: service.id), service)
  }

  /// Brings hosts in line with what their identity says now, where that may have changed since they were judged by it.
  private func settle(_ grant: Grant, since judged: Standing) {
    Standing.follow(
      from: judged, now: { core.standing(of: grant) },
      tell: {
        fabric.handle(.standing(identity: grant.identity, of: [grant.service: $0]))
      })
  }

  /// Only the host changes its terminator, with the sessions that it binds with.
  func updateTerminator(_ message: Wire.Message) {
    guard let request = try? message.decode(EdgeCtrlUpdateTerminatorRequest.self) else { return }
    func refuse(_ text: String, _ code: EdgeErrorCode) {
      log.write(
        .info, "terminator not changed",
        ["terminator": "\(request.terminatorID.prefix(Self.idLimit))", "reason": "\(text)"])
      channel.reply(ControlMessages.Failure(replyFor: message.sequence, text: text, code: code).message(), to: message)
    }
    do throws(EdgeAuthorization.Refusal) {
      let (grant, _) = try host(
        session: request.sessionToken, apiSession: request.apiSessionToken, fingerprints: request.fingerprints)
      let standing = core.standing(of: grant)
      let isDone = fabric.adjust(
        request.terminatorID, at: router, by: grant, cost: request.updateCost ? Int(min(request.cost, 65535)) : nil,
        precedence: request.updatePrecedence ? Precedence(request.precedence) : nil, identity: standing)
      settle(grant, since: standing)
      guard isDone else { return refuse("terminator \(request.terminatorID) is not known", .invalidTerminator) }
      channel.reply(Wire.Message(contentType: .updateTerminatorResponse), to: message)
    } catch {
      refuse(error.error.message, error.error.code)
    }
  }

  func quiesce(_ message: Wire.Message) {
    let isAdmitted = core.quiescePace.admits(router)
    if isAdmitted { fabric.handle(.quiesce(router: router, message.contentType == .quiesce)) }
    let text = isAdmitted ? "" : "the router quiesces too often; try again in half a minute"
    channel.reply(Wire.Message.result(success: isAdmitted, text: text, replyTo: message), to: message)
  }

  func removeTerminators(_ request: CtrlRemoveTerminatorsRequest, _ message: Wire.Message) {
    withdraw(request.terminatorIds)
    channel.reply(Wire.Message.result(success: true, text: "", replyTo: message), to: message)
  }

  // MARK: Validation (fabric-planes.md 5.6)

  /// Asks the router which of the terminators known here it still serves; the others are dropped.
  func validateTerminators() async {
    let known = fabric.terminators(of: router).filter(\.isLease)
    guard !known.isEmpty else { return }
    let request = CtrlValidateTerminatorsV2Request.with {
      $0.fixInvalid = true
      $0.postCreate = true
      $0.terminators = known.map { terminator in
        .with {
          $0.id = terminator.id
          $0.binding = terminator.binding
          $0.address = terminator.address
        }
      }
    }
    guard let answer = try? await channel.request(Wire.Message(.validateTerminatorsV2, request), timeout: .seconds(30))
    else { return }
    terminatorStates(answer)
  }

  func terminatorStates(_ message: Wire.Message) {
    guard let answer = try? message.decode(CtrlValidateTerminatorsV2Response.self) else { return }
    withdraw(answer.states.filter { !$0.value.valid }.map(\.key))
  }

  private func withdraw(_ ids: [String]) {
    for part in Self.parts(ids) { fabric.handle(.withdraw(router: router, terminators: part)) }
  }
}

extension ControllerCore {
  /// What an identity says of hosting a service.
  nonisolated func standing(of grant: Grant) -> Standing {
    model { $0.identities[grant.identity] }?.standing(of: grant.service) ?? Standing()
  }
}

extension Identity {
  /// What it says of hosting a service.
  func standing(of service: String) -> Standing {
    Standing(
      cost: serviceHostingCosts[service] ?? defaultHostingCost,
      precedence: serviceHostingPrecedences[service] ?? defaultHostingPrecedence)
  }
}

extension SDKInfo {
  /// Go SDK 1.2.8, which zrok 2.0.4 is built with, loses a BindSuccess that comes before it has entered its listener,
  /// and then waits for it for a minute. It bears the message twice.
  var missesFirstConfirmation: Bool { type == "ziti-sdk-golang" && version == "v1.2.8" }
}
