import Model
import PKI
import Transport
import X509

/// Which names the certificates of a router may carry. Whoever asks for a certificate decides nothing: SDKs of OpenZiti
/// believe any server of the network that bears the name they dialled, so that a router with another's name stands for
/// it.
///
/// The operator says the names (`swiftlet create edge-router NAME --host HOST`). Where he says none, the one-time token
/// he gave speaks for what the router enrolls with, as long as nobody else bears it; afterwards the router keeps these
/// names and gets no others.
struct RouterNames: Sendable {
  struct Refusal: Error, Sendable, Equatable {
    let text: String
  }

  enum Occasion: Sendable {
    /// A one-time token is redeemed.
    case enrollment
    /// A router renews what it has.
    case renewal
  }

  /// Names that stand for the controller.
  let controller: Set<HostName>
  /// Who bears a name: the other routers, by their certificates and by what the operator allowed them.
  let owner: @Sendable (HostName) -> String?

  /// - Returns: the names of those asked for that the router gets.
  /// - Throws: at enrollment, when the router asks for what it cannot have: its operator is there to read it. A renewal
  ///   leaves such names out.
  func granted(_ asked: [String], to router: EdgeRouterEntity, at occasion: Occasion) throws(Refusal) -> [String] {
    if let allowed = router.allowedNames { return Self.common(asked, Set(allowed.compactMap(HostName.init))) }
    switch occasion {
    case .renewal: return Self.common(asked, Self.names(inCertificateOf: router))
    case .enrollment:
      var granted: [String] = []
      for text in asked {
        guard let name = HostName(text) else {
          throw Refusal(text: "\"\(text.prefix(64))\" is neither a host name nor an address")
        }
        guard !name.isLoopback else {
          granted.append(name.description)
          continue
        }
        let remedy = "if the router really has it, allow it: swiftlet update edge-router \(router.name) --host \(name)"
        guard !name.isWildcard else { throw Refusal(text: "\(name) stands for many hosts; \(remedy)") }
        guard !controller.contains(name) else { throw Refusal(text: "\(name) is a name of the controller; \(remedy)") }
        if let owner = owner(name) { throw Refusal(text: "\(name) is a name of the edge router \(owner); \(remedy)") }
        granted.append(name.description)
      }
      return granted
    }
  }

  private static func common(_ asked: [String], _ allowed: Set<HostName>) -> [String] {
    asked.compactMap(HostName.init).filter { $0.isLoopback || allowed.contains($0) }.map(\.description)
  }

  static func names(inCertificateOf router: EdgeRouterEntity) -> Set<HostName> {
    guard let pem = router.certPem, let leaf = try? CertificateChain(pem: pem).leaf else { return [] }
    return Set(leaf.hostNames.compactMap(HostName.init))
  }
}

extension RouterNames {
  /// - Parameter id: the router that asks.
  init(core: ControllerCore, router id: String) {
    let own = [core.advertised.host] + core.configuration.serverNames + core.pki.serverIdentity.chain.leaf.hostNames
    self.init(
      controller: Set(own.compactMap(HostName.init)),
      owner: { name in
        let others = core.model { $0.edgeRouters.values.filter { $0.id != id } }
        return others.first { router in
          router.allowedNames?.contains { HostName($0) == name } ?? false
            || Self.names(inCertificateOf: router).contains(name)
        }?.name
      })
  }
}
