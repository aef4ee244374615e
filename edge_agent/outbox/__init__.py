"""The way up: what jobs on this node publish and record, kept until the hub has it."""
