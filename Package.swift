// swift-tools-version: 6.2
import PackageDescription

/// One block of settings for every target: the language mode of the house and the upcoming features that make
/// imports and existentials honest. On CI a warning is an error.
let settings: [SwiftSetting] =
  [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
  ] + (Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)])

// Products of other packages, named once.
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioConcurrency: Target.Dependency = .product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let nioWebSocket: Target.Dependency = .product(name: "NIOWebSocket", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let cryptoExtras: Target.Dependency = .product(name: "CryptoExtras", package: "swift-crypto")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let grpc: Target.Dependency = .product(name: "GRPCCore", package: "grpc-swift-2")
let grpcNIO: Target.Dependency = .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let jwt: Target.Dependency = .product(name: "JWTKit", package: "jwt-kit")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

func floor(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
  .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = [])
  -> Target
{
  .testTarget(name: name, dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: settings)
}

let package = Package(
  name: "swiftlet",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "swiftlet", targets: ["SwiftletCommand"]),
    .library(name: "Swiftlet", targets: ["Swiftlet"]),
    .library(name: "SwiftletShare", targets: ["SwiftletShare"]),
  ],
  dependencies: [
    // Event loops, sockets and ByteBuffer: the base of every listener and of the data plane.
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
    // TLS (BoringSSL) with optional client certificates, ALPN and SNI.
    .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
    // HTTP/2 streams as channels, for the REST APIs and the public frontend of shares.
    .package(url: "https://github.com/apple/swift-nio-http2.git", from: "1.46.0"),
    // P-256, P-384, RSA keys and hashes.
    .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
    // X.509: certificates, signing requests, chain verification.
    .package(url: "https://github.com/apple/swift-certificates.git", from: "1.21.1"),
    // DER for what X.509 does not cover: PKCS#7 bundles and the mended CSR.
    .package(url: "https://github.com/apple/swift-asn1.git", from: "1.7.4"),
    // Bodies of control and link messages.
    .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0"),
    // gRPC, which share services and agents speak to each other on zrok's wire: over a socket, and over channels of the
    // overlay.
    .package(url: "https://github.com/grpc/grpc-swift-2.git", from: "2.4.3"),
    .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", from: "2.9.2"),
    // SQLite with migrations and a concurrency contract.
    .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
    // Enrollment and session tokens.
    .package(url: "https://github.com/vapor/jwt-kit.git", from: "5.7.1"),
    // The command line.
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
    // Upstream's YAML configuration files, with line numbers for errors.
    .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
    // Structured logs.
    .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
    // Ordered start and graceful shutdown of the long-running parts.
    .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
  ],
  targets: [
    // Floor 0
    .systemLibrary(name: "CLinuxShims"),
    .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
    .systemLibrary(name: "CQREncode", pkgConfig: "libqrencode", providers: [.apt(["libqrencode-dev"])]),
    // Floor 1
    floor("Wire", []),
    floor("WireSchemas", [protobuf]),
    floor("SealedStream", ["CSodium"]),
    floor("PKI", [crypto, cryptoExtras, x509, asn1, jwt]),
    floor("JSON", []),
    floor("Model", ["JSON"]),
    floor("Facts", []),
    // Floor 2
    floor("Access", ["Model"]),
    floor("Fabric", ["Wire", "WireSchemas", "Model", "Access", protobuf]),
    // Floor 3
    floor(
      "Transport",
      ["Wire", "PKI", "JSON", nioCore, nioPosix, nioHTTP1, nioConcurrency, nioTLS, nioSSL, x509, asn1, logging, yams]),
    floor("Store", ["JSON", "Model", grdb]),
    // Floor 4
    floor(
      "Swiftlet",
      ["Transport", "SealedStream", "Wire", "PKI", "JSON", nioCore, nioPosix, x509, logging]),
    floor(
      "EdgeRouter",
      [
        "Transport", "Fabric", "Access", "JSON", "Model", "Wire", "WireSchemas", "PKI", nioCore, nioPosix, protobuf,
        x509, logging, lifecycle, asn1, nioConcurrency,
      ]),
    floor(
      "WebRelay",
      ["CLinuxShims", "Transport", "PKI", crypto, nioCore, nioPosix, nioHTTP1, nioHTTP2, nioHPACK, nioSSL]),
    floor("REST", ["Transport", "WebRelay", "JSON", "Model", nioCore, nioHTTP1, nioConcurrency, logging]),
    floor(
      "Authentication",
      ["Transport", "PKI", "Model", "Store", "CSodium", nioPosix, nioConcurrency, x509, logging]),
    // Floor 5
    floor(
      "Controller",
      [
        "REST", "Authentication", "Store", "Fabric", "Access", "JSON", "Model", "Facts", "Transport", "Wire",
        "WireSchemas", "PKI", nioCore, nioPosix, protobuf, x509, logging, lifecycle, nioConcurrency,
      ]),
    floor("SwiftletShare", ["JSON", "Swiftlet", "Transport", "PKI", nioCore, logging]),
    floor("Tunnel", ["Swiftlet", "Transport", nioCore, nioPosix, logging, lifecycle, nioConcurrency]),
    floor("AgentProtocol", ["WireSchemas", protobuf, grpc]),
    // Floor 6
    floor(
      "ShareFrontend",
      [
        "SwiftletShare", "WebRelay", "Tunnel", "Swiftlet", "Authentication", "Transport", "JSON", "Model", "PKI",
        nioCore,
        nioHTTP1, nioConcurrency, crypto, logging, lifecycle,
      ]),
    floor(
      "ShareService",
      [
        "ShareFrontend", "SwiftletShare", "AgentProtocol", "WebRelay", "Tunnel", "Swiftlet", "Controller",
        "Authentication", "REST", "Store", "Transport", "JSON", "Model", "PKI", "WireSchemas", nioCore, nioConcurrency,
        protobuf, grpc, grpcNIO, logging, lifecycle,
      ]),
    floor(
      "ShareAgent",
      [
        "JSON", "SwiftletShare", "AgentProtocol", "WebRelay", "Tunnel", "Swiftlet", "Transport", "WireSchemas", "PKI",
        nioCore, nioPosix, nioHTTP1, nioConcurrency, protobuf, grpc, grpcNIO, logging, lifecycle,
      ]),
    // Floor 7
    .executableTarget(
      name: "SwiftletCommand",
      dependencies: [
        "Controller", "EdgeRouter", "Tunnel", "ShareService", "ShareFrontend", "ShareAgent", "SwiftletShare",
        "WebRelay", "Swiftlet", "Transport", "PKI", "JSON", "Model", "CLinuxShims", "CQREncode", argumentParser,
        logging, lifecycle, nioCore, x509,
      ],
      swiftSettings: settings),
    // Programs that show how the SDK is used; the tutorial's code is this one.
    .executableTarget(
      name: "echo", dependencies: ["Swiftlet", nioCore], path: "Examples/Echo", swiftSettings: settings),
    .executableTarget(
      name: "chat", dependencies: ["SwiftletShare", "Swiftlet", nioCore], path: "Examples/Chat", swiftSettings: settings
    ),
    // Tests, one target a floor's target
    tests("WireTests", ["Wire"], resources: [.copy("Resources")]),
    tests("WireSchemasTests", ["WireSchemas", "Wire", protobuf], resources: [.copy("Resources")]),
    tests("SealedStreamTests", ["SealedStream"]),
    tests("PKITests", ["PKI", x509, crypto, cryptoExtras, asn1], resources: [.copy("Resources")]),
    tests("JSONTests", ["JSON"], exclude: ["python"]),
    tests("ModelTests", ["JSON", "Model"]),
    tests("AccessTests", ["Access", "Model"]),
    tests("FabricTests", ["Fabric", "Wire", "WireSchemas", "Model", "Access", protobuf]),
    tests(
      "TransportTests", ["Transport", "Wire", "PKI", nioCore, nioPosix, nioEmbedded, x509, logging, nioConcurrency]),
    tests("StoreTests", ["Store", "JSON", "Model"]),
    tests(
      "RESTTests",
      ["REST", "JSON", "Model", "Transport", "PKI", nioCore, nioPosix, nioHTTP1, nioHTTP2, nioConcurrency, logging]),
    tests("AuthenticationTests", ["Authentication", "Model", "PKI", x509]),
    tests(
      "ControllerTests",
      [
        "Controller", "Authentication", "Store", "JSON", "Model", "REST", "Transport", "PKI", "Wire", "WireSchemas",
        "Fabric",
        nioCore, nioPosix, nioConcurrency, protobuf,
        logging, x509,
      ]),
    tests(
      "EdgeRouterTests",
      [
        "EdgeRouter", "Transport", "Wire", "PKI", "Fabric", "Model", "WireSchemas", nioCore, nioPosix, nioConcurrency,
        logging, protobuf, x509,
      ]),
    tests("SwiftletTests", ["Swiftlet", "Transport", "Wire", "SealedStream", "PKI", nioCore, nioEmbedded]),
    tests("WebRelayTests", ["WebRelay", nioCore, nioPosix, nioHTTP1, nioEmbedded, nioSSL, nioConcurrency]),
    tests(
      "ShareTests",
      [
        "ShareService", "ShareFrontend", "ShareAgent", "SwiftletShare", "WebRelay", "Tunnel", "Swiftlet",
        "Controller", "EdgeRouter", "REST", "Store", "Transport", "PKI", "JSON", "Model", "NetworkFixture",
        nioCore, nioPosix, nioConcurrency, nioHTTP1, nioWebSocket, crypto, logging, lifecycle,
      ],
      exclude: ["python"]),
    tests(
      "CommandTests",
      [
        "SwiftletCommand", "NetworkFixture", "JSON", "Model", "PKI", "Transport", "Controller", argumentParser, nioCore,
        logging, lifecycle,
      ]),
    // A network in the test's process, shared by the two targets below.
    .target(
      name: "NetworkFixture",
      dependencies: ["Controller", "EdgeRouter", "Swiftlet", "Transport", "JSON", "Model", nioCore, nioPosix, logging],
      path: "Tests/NetworkFixture",
      swiftSettings: settings),
    tests(
      "EndToEndTests",
      [
        "NetworkFixture", "Controller", "EdgeRouter", "Swiftlet", "Tunnel", "Transport", "Fabric", "JSON", "Model",
        "PKI", nioCore, nioPosix, nioConcurrency, logging, lifecycle,
      ]),
    // Whoever means harm: strangers, enrolled SDKs, enrolled routers (docs/security.md).
    tests(
      "AttackTests",
      [
        "NetworkFixture", "Controller", "EdgeRouter", "Swiftlet", "Transport", "JSON", "Model", "PKI", "Wire", nioCore,
        nioPosix, nioConcurrency, logging, crypto, asn1, x509,
      ]),
    // The scripts run in a virtual environment, from where they are.
    tests(
      "InteropTests", ["NetworkFixture", "Controller", "EdgeRouter", "Swiftlet", "Tunnel", "JSON", "Model", nioCore],
      exclude: ["python"]),
  ]
)

// The fuzzer of parsers that need their packages (`./run fuzz`); no part of any other build.
if Context.environment["FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "fuzz",
      dependencies: ["PKI", "SealedStream", "Transport", "WireSchemas", "Swiftlet", x509, asn1, protobuf], path: "Fuzz",
      exclude: ["FrameFuzz.swift", "MessageFuzz.swift", "TextFuzz.swift"], swiftSettings: settings))
}
