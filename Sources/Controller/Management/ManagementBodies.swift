import Model
import REST

/// What the operations of the management API take, as OpenZiti's own document declares it (management-and-model.md
/// 4.7).
extension BodyShape {
  private static let cost = BodyShape.number(0...65535)
  private static let precedence = BodyShape.word(Precedence.allCases.map(\.rawValue))
  private static let semantic = BodyShape.word(["AllOf", "AnyOf"])
  static let username = BodyShape.string(4...100)
  static let password = BodyShape.string(5...100)
  /// What a client says of itself; longer texts are no names of systems.
  static let environment: BodyShape = [
    "arch": .string(0...255), "os": .string(0...255), "osRelease": .string(0...255), "osVersion": .string(0...255),
    "domain": .string(0...253),
    "hostname": .string(0...253),
  ]
  static let sdk: BodyShape = [
    "appId": .string(0...255), "appVersion": .string(0...255), "branch": .string(0...255), "revision": .string(0...255),
    "type": .string(0...255),
    "version": .string(0...255),
  ]

  static let identity: BodyShape = [
    "name": .required(.text), "type": .required(.word(["User", "Device", "Service", "Router", "Default"])),
    "isAdmin": .required(.boolean),
    "appData": .object, "authPolicyId": .text, "defaultHostingCost": cost, "defaultHostingPrecedence": precedence,
    "externalId": .text,
    "permissions": .texts, "roleAttributes": .texts, "serviceHostingCosts": .map(cost),
    "serviceHostingPrecedences": .map(precedence),
    "tags": .object,
  ]
  static let identityCreation = identity.adding(["enrollment": ["ott": .boolean, "ottca": .text, "updb": .text]])
  static let disabling: BodyShape = ["durationMinutes": .required(.integer)]
  static let serviceConfigs = BodyShape.list(["configId": .required(.text), "serviceId": .required(.text)])

  static let service: BodyShape = [
    "name": .required(.text), "configs": .texts, "encryptionRequired": .boolean, "maxIdleTimeMillis": .integer,
    "roleAttributes": .texts,
    "tags": .object, "terminatorStrategy": .text,
  ]
  static let serviceCreation: BodyShape = service.adding(["encryptionRequired": .required(.boolean)])

  static let configType: BodyShape = ["name": .required(.text), "schema": .object, "tags": .object]
  /// `other` is no word of the document: OpenZiti's own model has such types all the same.
  static let configTypeCreation = configType.adding(["target": .word(["service", "router", "other"])])
  static let config: BodyShape = ["name": .required(.text), "data": .required(.object), "tags": .object]
  static let configCreation = config.adding(["configTypeId": .required(.text)])

  private static let policy: BodyShape = ["name": .required(.text), "semantic": .required(semantic), "tags": .object]
  static let servicePolicy = policy.adding([
    "type": .required(.word(["Dial", "Bind", "Invalid"])), "identityRoles": .texts, "postureCheckRoles": .texts,
    "serviceRoles": .texts,
  ])
  static let edgeRouterPolicy = policy.adding(["edgeRouterRoles": .texts, "identityRoles": .texts])
  static let serviceEdgeRouterPolicy = policy.adding(["edgeRouterRoles": .texts, "serviceRoles": .texts])

  static let edgeRouter: BodyShape = [
    "name": .required(.text), "appData": .object, "configs": .texts, "cost": cost, "ctrlChanListeners": .map(.texts),
    "disabled": .boolean,
    "isTunnelerEnabled": .boolean, "noTraversal": .boolean, "roleAttributes": .texts, "tags": .object,
  ]

  static let terminator: BodyShape = [
    "service": .required(.text), "router": .required(.text), "binding": .required(.text), "address": .required(.text),
    "cost": cost,
    "precedence": precedence, "tags": .object,
  ]
  static let terminatorCreation = terminator.adding(["identity": .text, "identitySecret": .text])

  static let authPolicy: BodyShape = [
    "name": .required(.text),
    "primary": .required([
      "cert": .required(["allowed": .required(.boolean), "allowExpiredCerts": .required(.boolean)]),
      "extJwt": .required(["allowed": .required(.boolean), "allowedSigners": .required(.texts)]),
      "updb": .required([
        "allowed": .required(.boolean), "lockoutDurationMinutes": .required(.integer),
        "maxAttempts": .required(.integer),
        "minPasswordLength": .required(.integer), "requireMixedCase": .required(.boolean),
        "requireNumberChar": .required(.boolean),
        "requireSpecialChar": .required(.boolean),
      ]),
    ]),
    "secondary": .required(["requireExtJwtSigner": .text, "requireTotp": .required(.boolean)]), "tags": .object,
  ]

  static let enrollmentCreation: BodyShape = [
    "method": .required(.word(["ott", "ottca", "updb"])), "identityId": .required(.text), "expiresAt": .required(.time),
    "caId": .text,
    "username": .text, "tags": .object,
  ]
  static let expiry: BodyShape = ["expiresAt": .required(.time)]

  static let authenticatorCreation: BodyShape = [
    "method": .required(.text), "identityId": .required(.text), "certPem": .text, "password": .text, "username": .text,
    "tags": .object,
  ]
  static let authenticator: BodyShape = [
    "username": .required(username), "password": .required(password), "tags": .object,
  ]
  static let ownAuthenticator = authenticator.adding(["currentPassword": .required(password)])
  static let ownAuthenticatorPatch = authenticator.patch.adding(["currentPassword": .required(password)])
}
