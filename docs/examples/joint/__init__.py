"""Joint inference: a little model that knows when it does not know, and a big one to ask, as one bundle."""
