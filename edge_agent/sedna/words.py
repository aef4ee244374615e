"""The only place that decides which version a worker speaks of when it says that it has loaded one.

It does not say which. But it loads each word that it finds in `model_config.json` once, when it differs from the one
it loaded before: so what it speaks of is one of the words that were written since, and not the one that it had.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_REMEMBERED = 32
_WORKERS = 256


@dataclass(frozen=True, slots=True)
class Written:
    """A word in `model_config.json`, and the release that it stands for."""

    word: str
    number: int


@dataclass(slots=True)
class Words:
    """What was written for one job, and how far each of its workers got."""

    _written: list[Written] = field(default_factory=list)
    _dropped: int = 0
    _reached: dict[str, int] = field(default_factory=dict)

    @property
    def last(self) -> Written | None:
        """What is written there now."""
        return self._written[-1] if self._written else None

    def write(self, written: Written) -> None:
        """This stands there from now on."""
        if self.last == written:
            return
        self._written.append(written)
        if len(self._written) > _REMEMBERED:
            del self._written[0]
            self._dropped += 1

    def loaded(self, worker: str) -> Written | None:
        """What a worker speaks of that says now that it loaded something, or failed to; None before the first word.

        The newest that it can be. The same said twice, as when an answer got lost, is of the same version.
        """
        if not self._written:
            return None
        before = self._reached.pop(worker, -1) - self._dropped
        known = self._written[before].word if before >= 0 else None
        newer = range(len(self._written) - 1, max(before, -1), -1)
        found = next((index for index in newer if self._written[index].word != known), max(before, 0))
        self._reached[worker] = found + self._dropped
        if len(self._reached) > _WORKERS:  # the one that was silent for longest
            del self._reached[next(iter(self._reached))]
        return self._written[found]
