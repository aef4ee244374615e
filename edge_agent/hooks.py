"""The only place that runs hooks: commands of the node's own settings after each switch, which undo nothing.

For one channel one runs at a time; while it does, only the newest switch waits. A hook that fails or takes too long is
noted in the log, and that is all.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edge_agent.commands import check_command, facts_of, run_command
from edge_agent.watchers import Switch
from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelRef

LONGEST = 86_400.0  # seconds of a timeout
_PATTERN = re.compile(r"\*|[a-z0-9._*?-]+/[a-z0-9._*?-]+(@[a-z0-9._*?-]+)?")


@dataclass(frozen=True, slots=True)
class Hook:
    """One section [hook."PATTERN"]: a pattern for models, or for MODEL@CHANNEL. Raises BadInputError."""

    after_switch: tuple[str, ...]
    """A command; runs after the channel's link leads elsewhere, whichever way."""
    timeout: float = 60.0
    """Seconds; then it is ended."""

    def __post_init__(self) -> None:
        check_command(self.after_switch, "after_switch")
        if not 0 < self.timeout <= LONGEST:
            raise BadInputError(f"a hook's timeout is more than 0 and at most {LONGEST:.0f} seconds")


def check_patterns(patterns: Iterable[str]) -> None:
    """Raises BadInputError for what is no pattern for models."""
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise BadInputError(
                f"{pattern[:80]!r} is no pattern for models",
                hint='as in "acme/helmet", "acme/*", "acme/helmet-*@canary", or "*" for all',
            )


class Hooks:
    """All hooks, by pattern. Belongs to the loop's thread."""

    def __init__(self, hooks: Mapping[str, Hook] | None = None) -> None:
        self._hooks = dict(hooks or {})
        self._waiting: dict[ModelRef, Switch] = {}
        self._busy: set[ModelRef] = set()
        self._called = asyncio.Event()

    def call(self, switch: Switch) -> None:
        """A channel was switched; one that waits for its hook gives way to this one."""
        if self._of(switch.active.ref):
            self._waiting[switch.active.ref] = switch
            self._called.set()

    async def run(self) -> None:
        """Until it is cancelled; that ends what runs."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._called.wait()
                self._called.clear()
                for ref in self._waiting.keys() - self._busy:
                    self._busy.add(ref)
                    group.create_task(self._serve(ref))

    async def _serve(self, ref: ModelRef) -> None:
        while (switch := self._waiting.pop(ref, None)) is not None:
            for hook in self._of(ref):
                await self._run(hook, switch)
        self._busy.discard(ref)

    async def _run(self, hook: Hook, switch: Switch) -> None:
        log = Log().bind(model=str(switch.active.ref), version=switch.active.number, command=hook.after_switch[0])
        began = time.monotonic()
        try:
            async with asyncio.timeout(hook.timeout):
                ended = await run_command(hook.after_switch, facts_of(switch))
        except TimeoutError:
            log.warning("hook.late", timeout_s=hook.timeout)
        except OSError as error:
            log.warning("hook.failed", why=error.strerror)
        except Exception as error:  # noqa: BLE001 - the task's outermost frame: a hook must not take the agent away
            log.failure("hook.failed", error)
        else:
            took = time.monotonic() - began
            if ended.code:
                log.warning("hook.failed", why=ended.words, how=ended.how, took_s=took)
            else:
                log.info("hook.done", took_s=took)

    def _of(self, ref: ModelRef) -> list[Hook]:
        return [hook for pattern, hook in self._hooks.items() if _matches(ref, pattern)]


def _matches(ref: ModelRef, pattern: str) -> bool:
    return fnmatchcase(str(ref) if "@" in pattern else str(ref.model), pattern)
