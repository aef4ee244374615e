"""One transfer with a hub, whichever way it goes: what commands, agents and clients give and take in the same way."""
