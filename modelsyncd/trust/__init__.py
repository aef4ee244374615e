"""Keys, certificates and invites: who may speak, and how we know that it is them."""
