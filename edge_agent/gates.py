"""The only place that finds out whether a version works: it runs a gate of the node's own settings, to one verdict.

A gate is a command that succeeds, an address on this machine that answers, or a job's word. Which one it is, the hub
has no say in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from edge_agent.commands import check_command, check_places, facts_of, filled, run_command
from edge_agent.watchers import Switch
from modelsyncd.errors import BadInputError
from modelsyncd.link.address import is_loopback, join
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, parse_ref

LONGEST = 86_400.0  # seconds of a deadline
ASK_PAUSE = 0.5  # seconds between two questions to an address that did not say yes
ASK_PATIENCE = 10.0  # seconds for one answer
STATUS_LINE = 1_024  # bytes of an answer that are read
WHY = 500  # characters of a reason


@dataclass(frozen=True, slots=True)
class Gate:
    """One section [gate."MODEL@CHANNEL"]: exactly one of the three; `deadline` in seconds. Raises BadInputError."""

    command: tuple[str, ...] | None = None
    """Succeeds (exit status 0) when the version works."""
    url: str = ""
    """http:// on this machine; answers with 2xx once the version works."""
    confirm: bool = False
    """A job says so."""
    deadline: float = 60.0

    def __post_init__(self) -> None:
        if (self.command is not None) + bool(self.url) + self.confirm != 1:
            raise BadInputError("a gate needs exactly one of command, url and confirm = true")
        if not 0 < self.deadline <= LONGEST:
            raise BadInputError(f"a gate's deadline is more than 0 and at most {LONGEST:.0f} seconds")
        if self.command is not None:
            check_command(self.command, "a gate's command")
        if self.url:
            _check_url(self.url)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version works, and in a sentence why not."""

    works: bool
    why: str = ""


def parse_gates(sections: Mapping[str, Gate]) -> dict[ModelRef, Gate]:
    """The gates by channel, "stable" where a section names none. Raises InvalidNameError, BadInputError."""
    found: dict[ModelRef, Gate] = {}
    for text, gate in sections.items():
        ref = parse_ref(text)
        if ref.number is not None:
            raise BadInputError(
                f'[gate."{text[:80]}"] names a release', hint=f'gates belong to channels: "{ref.model}@…"'
            )
        place = ModelRef(ref.model, channel=ref.channel or DEFAULT_CHANNEL)
        if place in found:
            raise BadInputError(f"there are two gates for {place}")
        found[place] = gate
    return found


async def judge(gate: Gate, switch: Switch, seconds: float, starts: int = 1) -> Verdict:
    """The verdict of a gate about what a channel was switched to, within so many seconds. A job's word cancels it.

    `starts` is how often its time began.
    """
    asked = _Asked()
    try:
        async with asyncio.timeout(seconds):
            if gate.command is not None:
                return await _by_command(gate.command, switch)
            if gate.url:
                return await _by_url(gate.url, switch, asked)
            await asyncio.Event().wait()
    except TimeoutError:
        pass
    if seconds <= 0:
        often = f", {starts} times" if starts > 1 else ""
        return Verdict(False, f"the agent was down when its {gate.deadline:g} s were over{often}")
    if gate.command is not None:
        return Verdict(False, f"{gate.command[0]} did not end within {gate.deadline:g} s")
    if gate.url:
        return Verdict(False, f"{asked.last or 'no answer'} at the end of {gate.deadline:g} s")
    return Verdict(False, f"no job confirmed it within {gate.deadline:g} s")


async def _by_command(command: tuple[str, ...], switch: Switch) -> Verdict:
    try:
        ended = await run_command(command, facts_of(switch))
    except OSError as error:
        return Verdict(False, f"{command[0]} can't be run: {error.strerror}")
    if ended.code == 0:
        return Verdict(True)
    return Verdict(False, (f"{ended.words} ({ended.how})" if ended.words else f"{command[0]}: {ended.how}")[:WHY])


class _Asked:
    """What an address said last."""

    last = ""


async def _by_url(url: str, switch: Switch, asked: _Asked) -> Verdict:
    facts = {word: quote(fact, safe="") for word, fact in facts_of(switch).items()}
    address = filled(url, facts)
    while True:
        try:
            async with asyncio.timeout(ASK_PATIENCE):
                status = await _status(address)
        except TimeoutError:
            asked.last = f"{address} gave no answer in {ASK_PATIENCE:g} s"
        except OSError as error:
            asked.last = f"{address}: {error.strerror or error}"[:WHY]
        except ValueError:
            asked.last = f"{address} does not speak HTTP"
        else:
            if 200 <= status < 300:
                return Verdict(True)
            asked.last = f"{address} answered {status}"
        await asyncio.sleep(ASK_PAUSE)


async def _status(address: str) -> int:
    """Asks once. Raises OSError, ValueError for an answer that is not HTTP's."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 80
    reader, writer = await asyncio.open_connection(host, port, limit=STATUS_LINE)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {join(host, port)}\r\nConnection: close\r\n\r\n".encode())
        version, status = (await reader.readline()).split(b" ", 2)[:2]
        if not version.startswith(b"HTTP/"):
            raise ValueError("not HTTP")
        return int(status)
    finally:
        writer.transport.abort()


def _check_url(url: str) -> None:
    check_places(url, "a gate's url")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadInputError(f"a gate's url is none: {url[:80]!r}") from error
    if parts.scheme != "http" or not is_loopback(parts.hostname or "") or parts.username is not None:
        raise BadInputError(
            f"a gate's url must be on this machine, not {url[:80]!r}", hint="as in http://127.0.0.1:8000/health"
        )
    if not url.isascii() or any(c.isspace() for c in url):
        raise BadInputError(f"a gate's url has characters that must be escaped: {url[:80]!r}")
