"""What the hub knows, as SQL tables."""
