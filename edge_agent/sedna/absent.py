"""The only place that says what a node does for Sedna's jobs when it knows of none."""

from __future__ import annotations


class NoSedna:
    """Nothing."""

    def again(self) -> None:
        """Nothing was shown."""

    async def run(self) -> None:
        """Ends at once."""
