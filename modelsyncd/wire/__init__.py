"""Protobuf, and nothing else: the only door between generated messages and the values of this project."""
