// The small value types inside entities, with the words of the REST API as raw values.

public import JSON

public enum IdentityType: String, Sendable, Codable, CaseIterable, DefaultedOnAbsence {
  case `default` = "Default"
  case router = "Router"

  public static let valueOnAbsence = IdentityType.default

  /// Accepts the legacy names `User`, `Device` and `Service`, which are stored as `Default` (management spec 1.2).
  public init?(text: String) {
    switch text {
    case "Default", "User", "Device", "Service": self = .default
    case "Router": self = .router
    default: return nil
    }
  }
}

/// How a controller picks among the terminators of a service (management spec 3.2).
public enum TerminatorStrategy: String, Sendable, Codable, CaseIterable {
  case smartRouting = "smartrouting"
  case weighted
  case random
  case sticky
}

public enum ConfigTarget: String, Sendable, Codable, CaseIterable, DefaultedOnAbsence {
  case service, router, other
  public static let valueOnAbsence = ConfigTarget.service
}

public enum EnrollmentMethod: String, Sendable, Codable, CaseIterable {
  case ott, ottca, updb, erott, trott
}

public enum AuthenticatorMethod: String, Sendable, Codable, CaseIterable {
  case cert, updb
}

public enum RevocationType: String, Sendable, Codable, CaseIterable {
  case jti = "JTI"
  case apiSession = "API_SESSION"
  case identity = "IDENTITY"
}

public enum PublicKeyFormat: String, Sendable, Codable, CaseIterable, DefaultedOnAbsence {
  case x509CertDer = "X509CertDer"
  case pkixPublicKey = "PKIXPublicKey"
  public static let valueOnAbsence = PublicKeyFormat.x509CertDer
}

public enum PublicKeyUsage: String, Sendable, Codable, CaseIterable {
  case jwtValidation = "JWTValidation"
  case clientX509CertValidation = "ClientX509CertValidation"
}

extension Semantic: DefaultedOnAbsence { public static let valueOnAbsence = Semantic.allOf }
extension Precedence: DefaultedOnAbsence { public static let valueOnAbsence = Precedence.default }
extension Timestamp: DefaultedOnAbsence { public static let valueOnAbsence = Timestamp.epoch }

/// A password as stored. Lengths and costs are those of the algorithm named; salt and hash are base64.
public struct PasswordHash: Sendable, Codable, Equatable {
  public var algorithm: String
  public var salt: String
  public var hash: String
  /// Passes over memory.
  public var opslimit: Int
  /// Bytes of memory.
  public var memlimit: Int

  public init(algorithm: String, salt: String, hash: String, opslimit: Int, memlimit: Int) {
    self.algorithm = algorithm
    self.salt = salt
    self.hash = hash
    self.opslimit = opslimit
    self.memlimit = memlimit
  }
}

/// The machine a client last authenticated from.
public struct EnvInfo: Sendable, Codable, Equatable {
  public var arch: String
  public var os: String
  public var osRelease: String
  public var osVersion: String
  public var domain: String
  public var hostname: String

  public init(
    arch: String = "", os: String = "", osRelease: String = "", osVersion: String = "", domain: String = "",
    hostname: String = ""
  ) {
    self.arch = arch
    self.os = os
    self.osRelease = osRelease
    self.osVersion = osVersion
    self.domain = domain
    self.hostname = hostname
  }
}

/// The program and SDK a client last authenticated with.
public struct SDKInfo: Sendable, Codable, Equatable {
  public var appId: String
  public var appVersion: String
  public var branch: String
  public var revision: String
  public var type: String
  public var version: String

  public init(
    appId: String = "", appVersion: String = "", branch: String = "", revision: String = "", type: String = "",
    version: String = ""
  ) {
    self.appId = appId
    self.appVersion = appVersion
    self.branch = branch
    self.revision = revision
    self.type = type
    self.version = version
  }
}

/// What a router says of its build.
public struct RouterVersionInfo: Sendable, Codable, Equatable {
  public var version: String
  public var revision: String
  public var buildDate: String
  public var os: String
  public var arch: String

  public init(version: String = "", revision: String = "", buildDate: String = "", os: String = "", arch: String = "") {
    self.version = version
    self.revision = revision
    self.buildDate = buildDate
    self.os = os
    self.arch = arch
  }
}

/// A network interface as reported by an SDK or router.
public struct NetworkInterface: Sendable, Codable, Equatable {
  public var name: String
  public var hardwareAddress: String
  public var mtu: Int
  public var index: Int
  public var addresses: [String]
  public var isUp: Bool
  public var isRunning: Bool
  public var isLoopback: Bool
  public var isBroadcast: Bool
  public var isMulticast: Bool

  public init(
    name: String, hardwareAddress: String = "", mtu: Int = 0, index: Int = 0, addresses: [String] = [],
    isUp: Bool = false, isRunning: Bool = false,
    isLoopback: Bool = false, isBroadcast: Bool = false, isMulticast: Bool = false
  ) {
    self.name = name
    self.hardwareAddress = hardwareAddress
    self.mtu = mtu
    self.index = index
    self.addresses = addresses
    self.isUp = isUp
    self.isRunning = isRunning
    self.isLoopback = isLoopback
    self.isBroadcast = isBroadcast
    self.isMulticast = isMulticast
  }
}

/// The first factor: what alone lets an identity in.
public struct PrimaryAuthPolicy: Sendable, Codable, Equatable {
  public struct Certificate: Sendable, Codable, Equatable {
    public var allowed: Bool
    public var allowExpiredCerts: Bool

    public init(allowed: Bool = false, allowExpiredCerts: Bool = false) {
      self.allowed = allowed
      self.allowExpiredCerts = allowExpiredCerts
    }
  }

  public struct ExternalJWT: Sendable, Codable, Equatable {
    public var allowed: Bool
    /// Signer ids; empty = any enabled signer.
    public var allowedSigners: [String]

    public init(allowed: Bool = false, allowedSigners: [String] = []) {
      self.allowed = allowed
      self.allowedSigners = allowedSigners
    }
  }

  public struct Password: Sendable, Codable, Equatable {
    public var allowed: Bool
    public var minPasswordLength: Int
    public var requireSpecialChar: Bool
    public var requireNumberChar: Bool
    public var requireMixedCase: Bool
    /// Consecutive failures before the identity is disabled; 0 = unlimited.
    public var maxAttempts: Int
    /// Minutes; 0 = until enabled again.
    public var lockoutDurationMinutes: Int

    /// Lengths below 5 are raised to 5, negative counts to 0 (management spec 1.16).
    public init(
      allowed: Bool = false, minPasswordLength: Int = 5, requireSpecialChar: Bool = false,
      requireNumberChar: Bool = false,
      requireMixedCase: Bool = false, maxAttempts: Int = 0, lockoutDurationMinutes: Int = 0
    ) {
      self.allowed = allowed
      self.minPasswordLength = max(5, minPasswordLength)
      self.requireSpecialChar = requireSpecialChar
      self.requireNumberChar = requireNumberChar
      self.requireMixedCase = requireMixedCase
      self.maxAttempts = max(0, maxAttempts)
      self.lockoutDurationMinutes = max(0, lockoutDurationMinutes)
    }
  }

  public var cert: Certificate
  public var extJwt: ExternalJWT
  public var updb: Password

  public init(cert: Certificate = Certificate(), extJwt: ExternalJWT = ExternalJWT(), updb: Password = Password()) {
    self.cert = cert
    self.extJwt = extJwt
    self.updb = updb
  }
}

/// The second factor, asked for after the first.
public struct SecondaryAuthPolicy: Sendable, Codable, Equatable {
  public var requireTotp: Bool
  public var requireExtJwtSigner: String?

  public init(requireTotp: Bool = false, requireExtJwtSigner: String? = nil) {
    self.requireTotp = requireTotp
    self.requireExtJwtSigner = requireExtJwtSigner
  }
}
