import Foundation
import JSON
import NIOCore
import Transport

/// Calls of a share service's REST API, second generation (zrok.md 2). It has no envelopes: an answer is a document,
/// and a refusal is a text, or a document with a `message`.
struct ShareClient: Sendable {
  private static let mediaType = "application/zrok.v1+json"
  private static let basePath = "/api/v2"

  let endpoint: String
  let token: String
  private let rest: RESTClient

  /// - Parameter roots: PEM file of the authorities to believe; nil takes `SWIFTLET_SHARE_CA`, else the system's.
  init(endpoint: String, token: String, roots: String? = nil) throws {
    guard let url = ServerURL(endpoint, impliesTLS: true) else { throw ShareError.badEndpoint(endpoint) }
    self.endpoint = url.shortOrigin + url.path
    self.token = token
    let file = roots ?? ProcessInfo.processInfo.environment["SWIFTLET_SHARE_CA"].flatMap { $0.isEmpty ? nil : $0 }
    do {
      rest = RESTClient(
        bases: [self.endpoint + Self.basePath], tls: ClientTLS(trust: try .roots(file: file)), allowsPlaintext: true)
    } catch {
      throw ShareError.badFile(file ?? "", reason: "\(error)")
    }
  }

  /// The same at an endpoint as people write it, which may lack the scheme.
  static func finding(_ endpoint: String, token: String, roots: String? = nil) async throws -> ShareClient {
    try ShareClient(endpoint: await ShareEndpoint.complete(endpoint), token: token, roots: roots)
  }

  /// - Parameter operation: for errors: "refused to ...".
  @discardableResult
  func call(
    _ operation: String, _ method: String, _ path: String, _ body: JSONValue? = nil, timeout: TimeAmount = .seconds(30)
  ) async throws -> JSONValue {
    let answer: HTTPAnswer
    do throws(RESTError) {
      answer = try await rest.send(
        method, path,
        headers: [
          ("content-type", Self.mediaType), ("accept", Self.mediaType + ", application/json"), ("x-token", token),
        ],
        body: body?.serialized() ?? (method == "GET" ? nil : []), timeout: timeout)
    } catch {
      guard case .unreachable(let reason) = error.problem else { throw error }
      throw ShareError.unreachable(endpoint: endpoint, reason: reason)
    }
    let value: JSONValue
    do { value = answer.body.isEmpty ? .null : try JSONValue(parsing: answer.body) } catch {
      // A port that wants TLS, and proxies in front, answer in words.
      if !answer.isGood, let words = Self.words(answer) {
        throw ShareError.refused(operation: operation, status: answer.status, reason: words)
      }
      throw ShareError.badAnswer(operation: operation, reason: "HTTP \(answer.status), \(error)")
    }
    guard answer.isGood else {
      throw ShareError.refused(
        operation: operation, status: answer.status, reason: value.stringValue ?? value["message"]?.stringValue ?? "")
    }
    return value
  }

  private static func words(_ answer: HTTPAnswer) -> String? {
    guard answer.header("content-type")?.hasPrefix("text/plain") == true else { return nil }
    return String(decoding: answer.body.prefix(200), as: UTF8.self).split(whereSeparator: \.isNewline).first.map(
      String.init)
  }

  func text(_ value: JSONValue, _ member: String, _ operation: String) throws -> String {
    guard let text = value[member]?.stringValue, !text.isEmpty else {
      throw ShareError.badAnswer(operation: operation, reason: "\(member) is missing")
    }
    return text
  }
}
