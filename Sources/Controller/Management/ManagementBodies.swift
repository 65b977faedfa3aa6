import Model
import REST

/// What operations of the management API take beyond what the kinds declare, as OpenZiti's own document has it
/// (management-and-model.md 4.7).
extension BodyShape {
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

  static let disabling: BodyShape = ["durationMinutes": .required(.integer)]
  static let serviceConfigs = BodyShape.list(["configId": .required(.text), "serviceId": .required(.text)])

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
