public import NIOCore

/// What a client gets before it is cut off.
public struct HTTPLimits: Sendable {
  public var headerFields = 128
  /// Bytes of one field, name and value, and of a target.
  public var headerField = 16 * 1024
  /// Bytes of all fields together.
  public var headerList = 64 * 1024
  /// From the first byte of a request to the end of its head.
  public var headTimeout = TimeAmount.seconds(10)
  /// Between two requests of one connection.
  public var idleTimeout = TimeAmount.seconds(60)
  /// Without a byte of a request's body while nothing else is waited for.
  public var stallTimeout = TimeAmount.seconds(120)
  /// Requests at the same time on one HTTP/2 connection.
  public var concurrentStreams = 100
  /// Bytes of a body that an HTTP/2 client may send before somebody takes them; each stream has as many.
  public var streamWindow = 256 * 1024

  public init() {}

  /// Of HTTP/1: with a method or what stands around a field.
  var message: MessageLimits { MessageLimits(line: headerField + 48, head: headerList, fields: headerFields) }
}

/// Where a request came from.
public struct RequestInfo: Sendable {
  /// Address without port.
  public let remoteAddress: String
  public let isTLS: Bool
  public let loop: any EventLoop

  public init(remoteAddress: String, isTLS: Bool, loop: any EventLoop) {
    self.remoteAddress = remoteAddress
    self.isTLS = isTLS
    self.loop = loop
  }
}

/// A request that is over, for live views and logs.
public struct RequestRecord: Sendable {
  public let method: String
  /// With its query, at most 512 bytes of it.
  public let path: String
  /// Who asked, to be shown; it decides nothing.
  public let remoteAddress: String
  /// 0 when there was no answer.
  public let status: Int
  public let duration: TimeAmount
  /// Of the body.
  public let bytesIn: Int
  /// Of the body.
  public let bytesOut: Int
  /// Where it was relayed to; nil for an answer of ours.
  public let upstream: String?
  /// Why the upstream gave no whole answer, and what may help.
  public internal(set) var failure: String?
}

public typealias RequestObserver = @Sendable (RequestRecord) -> Void
