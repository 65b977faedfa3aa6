/// The key of a header record. The same number means different things on the edge and on the control plane; the
/// latter's ids live in `ControlHeader`.
public struct HeaderID: RawRepresentable, Hashable, Sendable, ExpressibleByIntegerLiteral {
  public var rawValue: Int32

  @inlinable
  public init(rawValue: Int32) { self.rawValue = rawValue }
  @inlinable
  public init(integerLiteral value: Int32) { rawValue = value }

  /// The key under which a circuit's peer data have what the header says (edge-data-plane.md 4.2).
  @inlinable
  public var peerDataKey: UInt32 { UInt32(bitPattern: rawValue) }
}

/// Channel (edge-data-plane.md 2.3).
extension HeaderID {
  public static let channelID: HeaderID = 0
  public static let replyFor: HeaderID = 1
  public static let resultSuccess: HeaderID = 2
  public static let helloVersion: HeaderID = 4
  public static let heartbeat: HeaderID = 5
  public static let heartbeatResponse: HeaderID = 6
  public static let underlayType: HeaderID = 7
  public static let id: HeaderID = 8
  public static let isGrouped: HeaderID = 9
  public static let groupSecret: HeaderID = 10
  public static let isFirstGroupConnection: HeaderID = 11
  public static let helloRejectClass: HeaderID = 13
  /// Copied from a request to its reply; carries latency stamps and trace UUIDs.
  public static let reflected: HeaderID = 128
}

/// Edge (edge-data-plane.md 3.2).
extension HeaderID {
  public static let connID: HeaderID = 1000
  public static let seq: HeaderID = 1001
  public static let sessionToken: HeaderID = 1002
  public static let publicKey: HeaderID = 1003
  public static let cost: HeaderID = 1004
  public static let precedence: HeaderID = 1005
  public static let terminatorIdentity: HeaderID = 1006
  public static let terminatorIdentitySecret: HeaderID = 1007
  public static let callerID: HeaderID = 1008
  public static let cryptoMethod: HeaderID = 1009
  public static let flags: HeaderID = 1010
  public static let appData: HeaderID = 1011
  /// A bool in Bind and StateConnected, a u32 in Dial.
  public static let routerProvidedConnID: HeaderID = 1012
  public static let healthStatus: HeaderID = 1013
  public static let errorCode: HeaderID = 1014
  public static let timestamp: HeaderID = 1015
  public static let traceHopCount: HeaderID = 1016
  public static let traceHopType: HeaderID = 1017
  public static let traceHopID: HeaderID = 1018
  public static let traceSourceRequestID: HeaderID = 1019
  public static let traceError: HeaderID = 1020
  public static let listenerID: HeaderID = 1021
  public static let connType: HeaderID = 1022
  public static let supportsInspect: HeaderID = 1023
  public static let supportsBindSuccess: HeaderID = 1024
  public static let connectionMarker: HeaderID = 1025
  public static let circuitID: HeaderID = 1026
  public static let stickinessToken: HeaderID = 1027
  public static let useXgressToSDK: HeaderID = 1028
  public static let xgressCtrlID: HeaderID = 1029
  public static let xgressAddress: HeaderID = 1030
  public static let inspectRequestedValues: HeaderID = 1031
  public static let supportsPostureChecks: HeaderID = 1032
  public static let structuredError: HeaderID = 1033
  public static let dialerIdentityID: HeaderID = 1034
  public static let dialerIdentityName: HeaderID = 1035
  public static let serviceID: HeaderID = 1036
  public static let serviceIdentifierType: HeaderID = 1037
  public static let routerCapabilities: HeaderID = 1039
}

/// Payloads and acknowledgements of circuits (edge-data-plane.md 6.2, 6.3, fabric-planes.md 7.1).
extension HeaderID {
  /// Payload header k is header 2000 + k; k goes to 255.
  public static let firstPayloadHeader: HeaderID = 2000
  public static let lastPayloadHeader: HeaderID = 2255
  public static let xgressCircuitID: HeaderID = 2256
  public static let xgressSequence: HeaderID = 2257
  public static let xgressFlags: HeaderID = 2258
  public static let xgressReceiveBufferSize: HeaderID = 2259
  public static let xgressRTT: HeaderID = 2260
}

/// Trace messages of circuits (type 1102; edge-data-plane.md 6.4).
public enum XgControlHeader {
  public static let hopCount: HeaderID = 20
  public static let hopType: HeaderID = 21
  public static let hopID: HeaderID = 22
  public static let timestamp: HeaderID = 23
  public static let userValue: HeaderID = 24
  public static let error: HeaderID = 25
}

/// The hello of a router link, which gives the ids of the channel another meaning (fabric-planes.md 6.3).
public enum LinkHeader {
  public static let connectionID: HeaderID = 0
  /// 1 payload, 2 acknowledgements; its presence means a split link.
  public static let part: HeaderID = 1
  public static let routerID: HeaderID = 2
  public static let routerVersion: HeaderID = 3
  public static let binding: HeaderID = 4
  public static let iteration: HeaderID = 5
  public static let dialledRouterID: HeaderID = 6
  public static let linkID: HeaderID = 100
}

/// Control plane (fabric-planes.md 3.3).
public enum ControlHeader {
  public static let listeners: HeaderID = 1000
  public static let capabilities: HeaderID = 1002
  public static let legacyCapabilities: HeaderID = 12
  public static let ctrlChanListeners: HeaderID = 1003
  public static let circuitSuccessAddress: HeaderID = 1100
  public static let routeResultAttempt: HeaderID = 1101
  /// Its presence means success, whatever the value.
  public static let routeResultSuccess: HeaderID = 1102
  public static let routeResultError: HeaderID = 1103
  public static let routeResultErrorCode: HeaderID = 1104
  public static let terminatorLocalAddress: HeaderID = 1110
  public static let terminatorRemoteAddress: HeaderID = 1111
  public static let initiatorLocalAddress: HeaderID = 1112
  public static let initiatorRemoteAddress: HeaderID = 1113
  public static let stickinessToken: HeaderID = 1114
  public static let dialingIdentityID: HeaderID = 1115
  public static let dialingIdentityName: HeaderID = 1116
  public static let peerData: HeaderID = 10
  /// Request: service session token. Response: circuit id.
  public static let sessionToken: HeaderID = 11
  public static let circuitID: HeaderID = 11
  /// Request: fingerprints of the SDK's certificate. Response: ingress address.
  public static let fingerprints: HeaderID = 12
  public static let address: HeaderID = 12
  /// Request: terminator instance. Response: tags.
  public static let terminatorInstance: HeaderID = 13
  public static let tags: HeaderID = 13
  public static let apiSessionToken: HeaderID = 14
  public static let identityID: HeaderID = 15
  public static let serviceID: HeaderID = 16
  public static let requestedCircuitID: HeaderID = 17
  public static let retryHint: HeaderID = 18
  /// In a Result; 1 means busy, try again.
  public static let resultErrorCode: HeaderID = 10
  public static let clusterPeerAddress: HeaderID = 2000
  public static let clusterAPIAddresses: HeaderID = 2002
  public static let clusterID: HeaderID = 2004
  public static let tunnelTerminatorID: HeaderID = 1022
  public static let tunnelCheckPassed: HeaderID = 1023
  public static let syncStrategyType: HeaderID = 1013
  public static let syncState: HeaderID = 1014
  public static let routerDataModel: HeaderID = 1024
  public static let dataModelIndex: HeaderID = 1025
  public static let subscriptionID: HeaderID = 1026
  /// Ours, in the answer to a new terminator: its SDK may lose the first BindSuccess.
  public static let confirmsAgain: HeaderID = 4000
}
