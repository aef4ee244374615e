"""The only place that runs commands of the node's own settings, and ends what is left of them.

A command runs without a shell, in a process group of its own, without input, without our environment (secrets and
sockets travel in those) and with nothing that the hub said but names and numbers in its arguments. Whoever stops
waiting for it ends the whole group. The last of what it says is kept.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from edge_agent.watchers import Switch
from modelsyncd.errors import BadInputError
from modelsyncd.names import nearest

WORDS = ("path", "channel_path", "model", "channel", "number", "previous")
TAIL = 4_096  # bytes of output that are kept
LINES = 3  # the last ones, of which a reason is made
LINE = 300  # characters of a reason
_PLACE = re.compile(r"\{([a-z_]+)\}")
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: `code` is negative for a signal; `words` are the last lines of what it said, as one."""

    code: int
    words: str

    @property
    def how(self) -> str:
        """In a few words; real-time signals have no name."""
        if self.code >= 0:
            return f"exit status {self.code}"
        names = {one.value: one.name for one in signal.Signals}
        return f"ended by {names.get(-self.code, f'signal {-self.code}')}"


def check_command(arguments: Sequence[str], what: str) -> None:
    """Raises BadInputError for a command that can't be run; `what` names the setting."""
    if not arguments or not arguments[0]:
        raise BadInputError(f"{what} is empty", hint='as in ["/usr/local/bin/check", "{path}"]')
    for text in arguments:
        if "\0" in text:
            raise BadInputError(f"{what} has a NUL character in it")
        check_places(text, what)


def check_places(text: str, what: str) -> None:
    """Raises BadInputError for a word in braces that stands for nothing."""
    for word in _PLACE.findall(text):
        if word not in WORDS:
            near = nearest(word, WORDS, most=1)
            hint = f"did you mean {{{near[0]}}}?" if near else "there are " + ", ".join(f"{{{one}}}" for one in WORDS)
            raise BadInputError(f"{what} has {{{word}}}, which stands for nothing", hint=hint)


def facts_of(switch: Switch) -> dict[str, str]:
    """What stands in the place of each word."""
    active = switch.active
    return {
        "path": str(active.path),
        "channel_path": str(active.channel_path),
        "model": str(active.ref.model),
        "channel": active.ref.channel or "",
        "number": str(active.number),
        "previous": str(switch.previous),
    }


def filled(text: str, facts: Mapping[str, str]) -> str:
    """A text with facts in the place of words."""
    return _PLACE.sub(lambda match: facts[match[1]], text)


async def run_command(arguments: Sequence[str], facts: Mapping[str, str]) -> Ended:
    """Runs it to its end. Whoever cancels this ends it, and all that it started and did not let go of.

    Raises OSError when it can't be started.
    """
    read_end, write_end = os.pipe()
    tail = _Tail(read_end)
    loop = asyncio.get_running_loop()
    try:
        try:
            child = await asyncio.create_subprocess_exec(
                *(filled(text, facts) for text in arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
                env=_environment(facts),
                cwd="/",
            )
        finally:
            os.close(write_end)
        loop.add_reader(read_end, tail.follow, loop)
        try:
            code = await child.wait()
        finally:
            _end_group(child.pid)
            if child.returncode is None:
                await child.wait()
        tail.more()
        return Ended(code, tail.words())
    finally:
        loop.remove_reader(read_end)
        os.close(read_end)


def _environment(facts: Mapping[str, str]) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed | {f"MODELSYNCD_{word.upper()}": fact for word, fact in facts.items()}


def _end_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all gone, or only such as are not ours
        os.killpg(leader, signal.SIGKILL)


class _Tail:
    """The last bytes that come out of a pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._bytes = b""

    def more(self) -> bool:
        """Takes what is there; whether more may come. At most a few pipes full, so that nobody waits for it."""
        for _ in range(16):
            try:
                some = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return True
            if not some:
                return False
            self._bytes = (self._bytes + some)[-TAIL:]
        return True

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes what is there, and stops looking when nothing more can come."""
        if not self.more():
            loop.remove_reader(self._descriptor)

    def words(self) -> str:
        """The last lines, as one."""
        lines = [line.strip() for line in self._bytes.decode(errors="replace").splitlines() if line.strip()]
        text = " | ".join("".join(c if c.isprintable() else " " for c in line) for line in lines[-LINES:])
        return text if len(text) <= LINE else "…" + text[-LINE:]
