"""The only list of the agent's settings: in its TOML file and as flags, the flag before the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiofiles

from edge_agent.facts import check_own
from edge_agent.gates import Gate, parse_gates
from edge_agent.hooks import Hook, check_patterns
from edge_agent.job_rights import Grant
from edge_agent.layouts.settings import LayoutSettings, parse_layouts
from edge_agent.pins import parse_pins
from edge_agent.sedna.settings import SednaSettings
from modelsyncd.daemon.log import Style
from modelsyncd.errors import BadInputError, DiskError
from modelsyncd.link import address, congestion, widening
from modelsyncd.link.congestion import AUTO
from modelsyncd.names import ModelRef
from modelsyncd.sizes import parse_size

SOCKET = "agent.sock"
LOCK = "agent.lock"
DOOR = "door"


@dataclass(frozen=True, slots=True)
class Settings:
    """As given; nothing is read or made yet. Raises BadInputError for a value that can't be."""

    data: Path
    """Folder for everything that the agent keeps."""
    hub: str
    """HOST:PORT."""
    invite: str = ""
    invite_file: Path | None = None
    """File with an invite; one that is empty or was used already does no harm."""
    socket: Path | None = None
    """Unix socket for jobs; DATA/agent.sock without it."""
    jobs_listen: str = ""
    """127.0.0.1:PORT for jobs that can't reach the socket; empty for none."""
    http_listen: str = ""
    """127.0.0.1:PORT where models can be read over HTTP; empty for none."""
    keep: int | None = None
    """Versions of each model to keep; the hub's word counts without it."""
    quota: int | str | None = None
    """Bytes of disk that models may take, or a size with its unit; what the hub says and the disk has counts anyway."""
    pins: tuple[str, ...] = ()
    """Releases that stay whatever needs room, as MODEL:NUMBER."""
    scrub_rate: int | str | None = None
    """Bytes a second that are read back at rest, or a size with its unit; 0 for none, None for what fits the store."""
    congestion: str = AUTO
    """How TCP answers loss on what the agent sends: "auto", "system", or a name of the kernel's."""
    lanes: str = AUTO
    """Connections of one session: a number from 1 to 8, or "auto"."""
    log_format: str = Style.AUTO.value
    log_level: str = "info"
    rights: Mapping[str, Grant] = field(default_factory=dict)
    """What local users may do, by user, "group:NAME", or "*" for everybody."""
    gate: Mapping[str, Gate] = field(default_factory=dict)
    """What finds out whether a version works, by MODEL@CHANNEL."""
    hook: Mapping[str, Hook] = field(default_factory=dict)
    """What runs after a switch, by a pattern for models."""
    layout: Mapping[str, LayoutSettings] = field(default_factory=dict)
    """Folders of model servers that show what a channel leads to, by MODEL@CHANNEL."""
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the node says of itself in place of what it finds out, by name; an empty list says nothing of it."""
    sedna: SednaSettings = field(default_factory=SednaSettings)
    """What is done for jobs of Sedna."""

    def __post_init__(self) -> None:
        address.split(self.hub)
        congestion.check(self.congestion)
        widening.check(self.lanes)
        if self.keep is not None and self.keep < 1:
            raise BadInputError(f"keep must be 1 or more, not {self.keep}", hint="the active version always stays")
        if self.quota is not None and self.quota_bytes < 1:
            raise BadInputError("quota must be more than nothing", hint="leave it out for none")
        if self.scrub_bytes is not None and self.scrub_bytes < 0:
            raise BadInputError("scrub_rate can't be less than nothing", hint="0 reads nothing back")
        parse_pins(self.pins)
        parse_gates(self.gate)
        check_patterns(self.hook)
        parse_layouts(self.layout)
        check_own(self.facts)
        if self.log_format not in set(Style):
            raise BadInputError(f"there is no log format {self.log_format!r}", hint=f"choose of {', '.join(Style)}")
        if self.log_level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise BadInputError(f"there is no log level {self.log_level!r}", hint="debug, info, warning or error")

    @property
    def quota_bytes(self) -> int:
        """The quota in bytes, 0 for none."""
        return parse_size(self.quota) if isinstance(self.quota, str) else self.quota or 0

    @property
    def scrub_bytes(self) -> int | None:
        """The rate in bytes a second."""
        return parse_size(self.scrub_rate) if isinstance(self.scrub_rate, str) else self.scrub_rate

    @property
    def pinned(self) -> frozenset[ModelRef]:
        """The pins, understood."""
        return parse_pins(self.pins)

    @property
    def folder(self) -> Path:
        """The data folder, absolute: jobs get paths below it."""
        return self.data.absolute()

    @property
    def socket_path(self) -> Path:
        """Where jobs connect, absolute."""
        return (self.socket or self.data / SOCKET).absolute()

    async def token(self) -> str:
        """The invite, or "": its file may be gone once the node is let in. Raises DiskError."""
        if self.invite or self.invite_file is None:
            return self.invite.strip()
        try:
            async with aiofiles.open(self.invite_file, encoding="ascii", errors="replace") as file:
                return (await file.read()).strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DiskError(f"can't read {self.invite_file}: {error.strerror}") from error
