"""Attackers that speak the network's wire by themselves, for `./run soak`: strangers, an enrolled SDK, an enrolled router.

They know the wire from tables of facts (edge data plane 2-4, fabric planes 2-3) and share no code with what they attack."""
