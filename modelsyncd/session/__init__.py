"""The conversation, without the wire: events in, effects out. No I/O, no clock, no randomness, no log."""
