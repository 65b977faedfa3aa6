package import NIOCore
import NIOSSL

extension Channel {
  /// Closes the socket at once, with whatever is queued. `close` says good-bye by TLS first, and waits seconds for a
  /// peer that does not read or never began to speak. Call on the event loop.
  package func abort() {
    let pipeline = pipeline.syncOperations
    let tls =
      (try? pipeline.context(handlerType: NIOSSLServerHandler.self))
      ?? (try? pipeline.context(handlerType: NIOSSLClientHandler.self))
    if let tls { tls.close(promise: nil) } else { close(promise: nil) }
  }
}
