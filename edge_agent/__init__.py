"""The edge agent: keeps what its hub asks for, whole and verified, and hands jobs a path to it."""
