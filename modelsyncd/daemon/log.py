"""The only place that says how a log line looks: an event, then key=value for each fact; one event, one line.

A caller says `log.info("uplink.connected", hub=address, ms=12)` and binds what it would repeat: `log.bind(node=name)`.
INFO is for what an operator acts on or looks for later. A secret is hidden even from a caller who forgets to.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath
from types import MappingProxyType

from modelsyncd.errors import ModelsyncError
from modelsyncd.escapes import harmless

_LOGGER = logging.getLogger("modelsyncd")
_HIDDEN = "[secret]"
_SECRET_FIELDS = frozenset({"key", "token", "invite", "secret", "password"})
_SECRET_SIGNS = ("msi1_", "PRIVATE KEY")
_HEX_DIGITS = 12  # of a digest: enough to tell two apart by eye
# sd-daemon(3): a line that begins so gets its level in the journal.
_PRIORITIES = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>"}

Fact = str | int | float | bool | bytes | PurePath | None


class Style(StrEnum):
    """How lines are written; AUTO is JOURNAL when standard error leads to the systemd journal, else TEXT."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"


class Log:
    """Says events, with the facts that are bound to it."""

    __slots__ = ("_bound",)

    def __init__(self, bound: Mapping[str, Fact] = MappingProxyType({})) -> None:
        self._bound = bound

    def bind(self, **facts: Fact) -> Log:
        """The same log with more facts on every line."""
        return Log({**self._bound, **facts})

    def debug(self, event: str, **facts: Fact) -> None:
        """For whoever debugs this program."""
        self._say(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Fact) -> None:
        """For an operator who wants to know what happened."""
        self._say(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Fact) -> None:
        """Something is wrong that heals by itself, or may."""
        self._say(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Fact) -> None:
        """Something is wrong that will not heal by itself."""
        self._say(logging.ERROR, event, facts)

    def failure(self, event: str, error: BaseException, **facts: Fact) -> None:
        """An error: one line for those with a name, WARNING if a later try may succeed; a trace for the others."""
        if isinstance(error, ModelsyncError):
            level = logging.WARNING if error.retryable else logging.ERROR
            self._say(level, event, {**facts, "error": error.code, "why": error.message, "hint": error.hint or None})
        else:
            self._say(logging.ERROR, event, {**facts, "error": type(error).__name__}, error)

    def _say(self, level: int, event: str, facts: Mapping[str, Fact], error: BaseException | None = None) -> None:
        if not _LOGGER.isEnabledFor(level):
            return
        shown = {name: _shown(name, fact) for name, fact in {**self._bound, **facts}.items() if fact is not None}
        trace = (type(error), error, error.__traceback__) if error is not None else None
        _LOGGER.log(level, event, extra={"facts": shown}, exc_info=trace)


class TextFormatter(logging.Formatter):
    """`2027-01-15T08:00:00.000Z INFO event key=value …`; a trace follows indented, so that lines stay tellable."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; the time is UTC."""
        return f"{_moment(record)} {record.levelname} {_words(record)}{self._trace(record)}"

    def _trace(self, record: logging.LogRecord) -> str:
        if not record.exc_info:
            return ""
        return "".join(f"\n    {line}" for line in harmless(self.formatException(record.exc_info)).splitlines())


class JournalFormatter(TextFormatter):
    """The same for the systemd journal, which knows the time and keeps the level itself."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with its priority in front."""
        return f"{_PRIORITIES.get(record.levelno, '<5>')}{_words(record)}{self._trace(record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """`time`, `level` and `event`, and the facts beside them; `trace` for an error without a name."""
        line: dict[str, Fact] = {"time": _moment(record), "level": record.levelname, "event": record.getMessage()}
        line |= _facts(record)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def setup(level: str = "INFO", style: Style = Style.AUTO) -> None:
    """Sends the log of this process to standard error from now on. For the start of a program only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(style))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries speak when something is wrong
    _LOGGER.setLevel(level.upper())


def _formatter(style: Style) -> logging.Formatter:
    match style:
        case Style.JSON:
            return JsonFormatter()
        case Style.JOURNAL:
            return JournalFormatter()
        case Style.TEXT:
            return TextFormatter()
        case Style.AUTO:
            return JournalFormatter() if _in_journal() else TextFormatter()


def _in_journal() -> bool:
    # systemd.exec(5): JOURNAL_STREAM names the device and inode of the stream; a redirected one differs.
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def _moment(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _words(record: logging.LogRecord) -> str:
    words = [_plain(record.getMessage())]
    words += [f"{name}={_plain(fact)}" for name, fact in _facts(record).items()]
    return " ".join(words)


def _facts(record: logging.LogRecord) -> Mapping[str, Fact]:
    found = getattr(record, "facts", None)  # a library's record has none
    return found if isinstance(found, dict) else {}


def _shown(name: str, fact: Fact) -> Fact:
    if isinstance(fact, bytes):
        fact = fact.hex()[:_HEX_DIGITS]
    elif isinstance(fact, float):
        fact = round(fact, 3)
    elif isinstance(fact, PurePath):
        fact = str(fact)
    if name in _SECRET_FIELDS or (isinstance(fact, str) and any(sign in fact for sign in _SECRET_SIGNS)):
        return _HIDDEN
    return fact


def _plain(fact: Fact) -> str:
    text = str(fact).lower() if isinstance(fact, bool) else str(fact)
    if text.isprintable() and text and not set(text) & set(' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
