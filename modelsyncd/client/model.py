"""The only place that says what a job gets to know of a model: frozen values, no connection behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Model:
    """A version that is whole, verified and active.

    `path` never changes: a job that loads from it sees one version to the end, whatever is switched meanwhile. It is a
    folder, or the file when the model is a single file. `channel_path` stays the same and leads to the newest version.
    """

    name: str
    """namespace/name."""
    channel: str
    number: int
    """Release number: 1, 2, 3, …"""
    manifest: str
    """Digest of the version's manifest, "b3:" and hex: the same content has the same one everywhere."""
    release: str
    """Digest of the release, "b3:" and hex."""
    path: Path
    channel_path: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    active_since: float = 0.0
    """Seconds since 1970 UTC when the channel was switched to it."""
    previous: int = 0
    """Number that was active before, as far as a watch knows it; 0 for none."""
    trial: bool = False
    """Whether the node waits for `confirm`, and goes back without it; known for what was acquired."""
    trial_seconds: float = 0.0
    """Seconds that were left for that when it was acquired."""
    variant: str = ""
    """Which form of the release it is: "int8", or "default" where nobody named it; "" from an agent of before."""
    forms: int = 0
    """In how many forms the release comes; 0 from an agent of before."""

    @property
    def ref(self) -> str:
        """namespace/name@channel."""
        return f"{self.name}@{self.channel}"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A channel that this machine follows; `active` is None while there is no whole version of it."""

    name: str
    """namespace/name."""
    channel: str
    phase: str
    """What the agent does about it: "wanted", "fetching", "verified", "active", "failed", …"""
    desired: int
    """Number that should be active; 0 for none."""
    active: Model | None = None

    @property
    def ref(self) -> str:
        """namespace/name@channel."""
        return f"{self.name}@{self.channel}"


@dataclass(frozen=True, slots=True)
class LocalVersion:
    """A version on this machine's disk; `size` in plain bytes, `whole` unless bytes of it are known to be wrong."""

    number: int
    manifest: str
    path: Path
    size: int
    whole: bool
    holders: tuple[str, ...] = ()
    """Who holds it, as in "vision/4711": user and process."""
    variant: str = ""
    """Which form of its release it is; "" when that is not known."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that did not prove itself here; `at` is seconds since 1970 UTC."""

    number: int
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """All that this machine knows of one channel; `versions` are those on its disk, newest first."""

    local: LocalModel
    versions: tuple[LocalVersion, ...]
    previous: int
    """Number that the channel goes back to when what is active fails; 0 for none."""
    failure: Failure | None = None
    trial_seconds: float = 0.0
    """Seconds left for a `confirm`; 0 when nobody waits for one."""
