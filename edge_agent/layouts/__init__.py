"""Folders as model servers expect them, kept in step with what is active on the node."""
