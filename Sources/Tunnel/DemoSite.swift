public import Logging
import NIOCore
public import ServiceLifecycle
public import Swiftlet

/// A web page that is served on the overlay by this process, which listens on no port: the quickstart's proof, and an
/// example of `listen`.
public final class DemoSite: Service {
  private static let headLimit = 16 * 1024

  private let overlay: Overlay
  private let service: String
  private let logger: Logger

  public init(overlay: Overlay, service: String, logger: Logger) {
    self.overlay = overlay
    self.service = service
    self.logger = logger
  }

  /// Serves until cancelled or until the service group shuts down.
  public func run() async throws {
    let listener = try await overlay.listen(service)
    logger.info("demo page hosted", metadata: ["service": "\(service)"])
    try await withGracefulShutdownHandler {
      try await withThrowingDiscardingTaskGroup { group in
        for try await stream in listener { group.addTask { await self.serve(stream) } }
        group.cancelAll()
      }
    } onGracefulShutdown: {
      Task { await listener.close() }
    }
  }

  /// Answers requests of one connection, one after the other (HTTP/1.1; bodies of requests are not read, so a request
  /// with one ends the connection).
  private func serve(_ stream: OverlayStream) async {
    var pending = ""
    do {
      while let bytes = try await stream.read() {
        pending += String(buffer: bytes)
        guard pending.utf8.count <= Self.headLimit else { break }
        while let end = pending.firstRange(of: "\r\n\r\n") {
          let head = String(pending[..<end.lowerBound])
          pending = String(pending[end.upperBound...])
          let answer = answer(head, caller: stream.caller)
          try await stream.write(ByteBuffer(string: answer.text))
          if answer.isLast {
            try await stream.finish()
            return await stream.close()
          }
        }
      }
      try await stream.finish()
    } catch {
      logger.debug("demo connection ended", metadata: ["reason": "\(error)"])
    }
    await stream.close()
  }

  private func answer(_ head: String, caller: OverlayStream.Caller?) -> (text: String, isLast: Bool) {
    let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
    let request = lines.first?.split(separator: " ") ?? []
    let lowered = lines.dropFirst().map { $0.lowercased() }
    let isGet = request.count == 3 && (request[0] == "GET" || request[0] == "HEAD")
    let isLast =
      !isGet || request[2] != "HTTP/1.1" || lowered.contains { $0.hasPrefix("connection:") && $0.contains("close") }
      || lowered.contains { $0.hasPrefix("content-length:") || $0.hasPrefix("transfer-encoding:") }
    let name = caller?.identityName ?? caller?.claimedName ?? ""
    let body = isGet ? page(visitor: name.isEmpty ? "somebody" : name) : "this page answers GET only\n"
    let status = isGet ? "200 OK" : "405 Method Not Allowed"
    let text =
      "HTTP/1.1 \(status)\r\ncontent-type: \(isGet ? "text/html" : "text/plain"); charset=utf-8\r\ncontent-length: \(body.utf8.count)\r\n"
      + (isGet ? "" : "allow: GET, HEAD\r\n") + "connection: \(isLast ? "close" : "keep-alive")\r\n\r\n"
      + (request.first == "HEAD" ? "" : body)
    return (text, isLast)
  }

  private func page(visitor: String) -> String {
    """
    <!doctype html>
    <meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>\(Self.escaped(service))</title>
    <style>body{font:1.1em/1.5 system-ui;max-width:34em;margin:4em auto;padding:0 1em}</style>
    <h1>You reached &ldquo;\(Self.escaped(service))&rdquo;</h1>
    <p>This request crossed the overlay, encrypted from end to end, to a process that listens on no port.</p>
    <p>The network says you are <b>\(Self.escaped(visitor))</b>.</p>

    """
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing(
      "\"", with: "&quot;")
  }
}
