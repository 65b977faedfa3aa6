import Logging
import NIOCore
import NIOHTTP1
import WebRelay

extension ShareBackend {
  /// Passes requests on to a server.
  static func judge(_ server: SharedServer, _ options: BackendOptions, _ logger: Logger) -> RequestJudge {
    let plain = Upstream(key: server.authority, connect: server.connect, answerLimit: options.answerLimit) { failure in
      logger.info("a request got no answer", metadata: ["target": "\(server.authority)", "reason": "\(failure)"])
      return failure.page(behind: "share")
    }
    return { head, info in
      var (head, upstream) = (head, plain)
      upstream.rewrite = server.answering(head)
      guard server.rewrite(&head) else { return info.loop.makeSucceededFuture(.answer(outsidePage)) }
      for (name, value) in options.requestHeaders { head.headers.replaceOrAdd(name: name, value: value) }
      // A frontend said already who asks; on a private share it is the caller.
      if !head.headers.contains(name: "x-proxy") { head.headers.add(name: "x-proxy", value: "zrok") }
      return info.loop.makeSucceededFuture(.relay(upstream: upstream, head: head))
    }
  }

  private static let outsidePage = WebPage.html(
    status: .badRequest, title: "This is not shared", message: "The address leads out of what is shared here.",
    hint: "Check the address.")
}
