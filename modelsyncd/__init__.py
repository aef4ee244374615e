"""Keeps a fleet's model files in step with a hub, in both directions."""

__version__ = "0.1.0"
