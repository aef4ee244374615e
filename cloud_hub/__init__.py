"""The cloud hub: keeps the catalogue and the chunks, and talks to every node."""
