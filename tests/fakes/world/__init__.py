"""A hub and its nodes on a clock of their own: real session, pump, uplink and steward, made-up wire and disk."""
