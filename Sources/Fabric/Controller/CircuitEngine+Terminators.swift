import Access
import Model

extension CircuitEngine {
  mutating func handleTerminators(_ event: Event) -> [Action] {
    switch event {
    case .offer(let terminator, let identity):
      var taken = terminator
      taken.peerData = PeerData.ofHost(terminator.peerData)
      taken.settle(by: identity, after: terminators[terminator.id])
      let refusal = refusal(taken)
      if refusal == nil { terminators.put(taken) }
      return [.offered(terminator: terminator.id, refusal)]
    case .adjust(let id, let router, let host, let cost, let precedence, let identity):
      guard let known = terminators[id], known.isLease, known.routerID == router, known.hostID == host.identity,
        known.serviceID == host.service
      else {
        return [.adjusted(terminator: id, false)]
      }
      terminators.update(id) { $0.ask(cost: cost, precedence: precedence, identity: identity) }
      return [.adjusted(terminator: id, true)]
    case .standing(let identity, let standings):
      for (service, standing) in standings {
        for terminator in terminators.of(host: Grant(identity: identity, service: service)) where terminator.isLease {
          terminators.update(terminator.id) { $0.follow(standing) }
        }
      }
      return []
    case .withdraw(let router, let ids):
      // Ids that are gone already are no error, those of other routers and those that operators made are not a router's
      // to remove.
      for id in ids where terminators[id].map({ $0.routerID == router && $0.isLease }) ?? false {
        terminators.remove(id)
      }
      return []
    case .quiesce(let router, let isQuiesced):
      terminators.quiesce(router, isQuiesced)
      return []
    case .place(let terminator):
      terminators.put(terminator)
      return []
    case .displace(let id):
      terminators.remove(id)
      return []
    default: return []
    }
  }

  private func refusal(_ terminator: LiveTerminator) -> OfferRefusal? {
    if let old = terminators[terminator.id] {
      guard old.isLease, old.serviceID == terminator.serviceID, old.routerID == terminator.routerID,
        old.hostID == terminator.hostID,
        old.binding == terminator.binding
      else { return .idTaken }
    } else if terminators.count(router: terminator.routerID) >= settings.terminatorsPerRouter {
      return .tooMany(limit: settings.terminatorsPerRouter)
    }
    let others = terminators.weight(router: terminator.routerID) - (terminators[terminator.id]?.weight ?? 0)
    guard others + terminator.weight <= settings.terminatorBytesPerRouter else {
      return .tooManyBytes(limit: settings.terminatorBytesPerRouter)
    }
    if !terminator.instance.isEmpty,
      terminators.hasRival(of: terminator.hostID, service: terminator.serviceID, instance: terminator.instance)
    {
      return .instanceTaken
    }
    return nil
  }
}
