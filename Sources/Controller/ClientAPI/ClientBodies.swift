import Model
import REST

/// What the operations of the client API take, as OpenZiti's own document declares it (edge-client-api.md 2, 3, 5).
extension BodyShape {
  static let login: BodyShape = [
    "username": username, "password": password, "configTypes": .texts, "envInfo": environment, "sdkInfo": sdk,
  ]
  static let code: BodyShape = ["code": .required(.text)]

  static let enrollment: BodyShape = [
    "token": .text, "name": .text, "username": username, "password": password, "certCsr": .text, "clientCsr": .text,
    "serverCertCsr": .text,
    "serverCsr": .text,
  ]

  static let session: BodyShape = ["serviceId": .text, "type": .word(["Dial", "Bind", "Invalid"]), "tags": .object]
  static let posture: BodyShape = [
    "id": .required(.text), "typeId": .required(.word(["OS", "PROCESS", "DOMAIN", "MAC", "MFA", "PROCESS_MULTI"])),
  ]
}
