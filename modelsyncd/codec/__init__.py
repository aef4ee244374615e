"""How a chunk's bytes are written on the wire and at rest: pure functions on bytes."""
