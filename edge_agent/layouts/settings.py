"""The only list of the settings for model servers: the sections [layout."MODEL@CHANNEL"]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from modelsyncd.errors import BadInputError
from modelsyncd.link.address import is_loopback
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, nearest, parse_ref

LONGEST = 86_400.0  # seconds of a grace
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Server(StrEnum):
    """The servers whose folders we know."""

    TRITON = "triton"
    TENSORFLOW_SERVING = "tensorflow-serving"
    MLSERVER = "mlserver"
    ONNXRUNTIME = "onnxruntime"


class Way(StrEnum):
    """How a version's files get into a server's folder."""

    AUTO = "auto"
    HARD_LINK = "hard-link"
    SYMLINK = "symlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class LayoutSettings:
    """What people write about one layout. Raises BadInputError for what can't be."""

    server: str
    """Whose folders these are: triton, tensorflow-serving, mlserver, or onnxruntime."""
    folder: Path
    """The server's folder of models, absolute; ours in it is FOLDER/NAME."""
    name: str = ""
    """What the server calls the model; the last part of its name without."""
    reload: str = ""
    """http:// on this machine: asked with POST after each switch. HOST:PORT alone means the V2 repository's load."""
    keep: int = 2
    """Version folders that stay, with the one that is served."""
    grace_seconds: float = 60.0
    """How long an older one stays after it is one too many."""
    files: str = Way.AUTO.value
    """hard-link, symlink or copy; "auto" is a hard link where that can be had, and else a copy."""
    implementation: str = ""
    """Which of MLServer's runtimes loads it, where the model does not say and its file's ending does not tell."""

    def __post_init__(self) -> None:
        if self.server not in set(Server):
            near = nearest(self.server, list(Server), most=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(Server)}"
            raise BadInputError(f"no layout is known for a server {self.server[:80]!r}", hint=hint)
        if not self.folder.is_absolute():
            raise BadInputError(f"a layout's folder must be an absolute path, not {str(self.folder)[:80]!r}")
        if self.name and not _NAME.fullmatch(self.name):
            raise BadInputError(f"{self.name[:80]!r} can't be a model's name at a server", hint="letters, digits, ._-")
        if self.keep < 1:
            raise BadInputError(f"a layout's keep must be 1 or more, not {self.keep}", hint="1 is the one that serves")
        if not 0 <= self.grace_seconds <= LONGEST:
            raise BadInputError(f"a layout's grace_seconds is between 0 and {LONGEST:.0f}")
        if self.files not in set(Way):
            raise BadInputError(f"there is no way {self.files[:80]!r} for files", hint=f"choose of {', '.join(Way)}")
        if self.implementation and self.server != Server.MLSERVER:
            raise BadInputError("implementation is for MLServer only")
        if self.reload:
            _check_url(self.reload, self.server)


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout, understood: `folder` is ours alone; `reload` is a whole address, or ""; `grace` in seconds."""

    ref: ModelRef
    server: Server
    folder: Path
    name: str
    reload: str
    keep: int
    grace: float
    files: Way
    implementation: str


def parse_layouts(sections: Mapping[str, LayoutSettings]) -> tuple[Layout, ...]:
    """The layouts; "stable" where a section names no channel. Raises InvalidNameError, BadInputError."""
    found: dict[ModelRef, Layout] = {}
    for text, given in sections.items():
        layout = _understood(text, given)
        if layout.ref in found:
            raise BadInputError(f"there are two layouts for {layout.ref}")
        for other in found.values():
            if other.folder == layout.folder:
                raise BadInputError(
                    f"two layouts want the folder {layout.folder}", hint="give one of them another name or folder"
                )
        found[layout.ref] = layout
    return tuple(found.values())


def _understood(text: str, given: LayoutSettings) -> Layout:
    ref = parse_ref(text)
    if ref.number is not None:
        hint = f'layouts belong to channels: "{ref.model}@…"'
        raise BadInputError(f'[layout."{text[:80]}"] names a release', hint=hint)
    name = given.name or ref.model.name
    return Layout(
        ModelRef(ref.model, channel=ref.channel or DEFAULT_CHANNEL),
        Server(given.server),
        given.folder / name,
        name,
        _whole(given.reload, name),
        given.keep,
        given.grace_seconds,
        Way(given.files),
        given.implementation,
    )


def _whole(url: str, name: str) -> str:
    if not url or urlsplit(url).path not in ("", "/"):
        return url
    return f"{url.rstrip('/')}/v2/repository/models/{name}/load"


def _check_url(url: str, server: str) -> None:
    if server == Server.TENSORFLOW_SERVING:
        raise BadInputError("TensorFlow Serving finds new versions by itself", hint="leave reload out")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadInputError(f"a layout's reload is no address: {url[:80]!r}") from error
    if parts.scheme != "http" or not is_loopback(parts.hostname or "") or parts.username is not None:
        raise BadInputError(
            f"a layout's reload must be on this machine, not {url[:80]!r}", hint="as in http://127.0.0.1:8000"
        )
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise BadInputError(f"a layout's reload has characters that must be escaped: {url[:80]!r}")
