"""The only place that chooses whose hub we speak to: the contexts in a person's configuration, and which one is in use.

    ~/.config/modelsyncd/context.toml      link to the one in use
    ~/.config/modelsyncd/contexts/N.toml   each of them, 0600

A file given with --context (or MODELSYNCD_CONTEXT) goes before; `admin.toml` in a hub's data folder is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from modelsyncd.ctl.asked import Asked
from modelsyncd.errors import ConflictError, DiskError, NotFoundError
from modelsyncd.exchange.places import config_folder
from modelsyncd.link.address import split
from modelsyncd.names import nearest, parse_node
from modelsyncd.store import durable
from modelsyncd.trust import context as files
from modelsyncd.trust.context import Context

__all__ = ["Known", "chosen", "config_folder", "keep", "known", "use"]


@dataclass(frozen=True, slots=True)
class Known:
    """One of a person's contexts."""

    name: str
    path: Path
    hub: str
    who: str
    in_use: bool


def chosen(asked: Asked, folder: Path) -> Context:
    """The context that a run uses. Raises NotFoundError, BadInputError, DiskError."""
    path = asked.context or _in_use(folder)
    try:
        context = files.read(path)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no context at {path}",
            hint="take admin.toml from the hub's data folder: modelsyncctl login PATH_TO_admin.toml,"
            " or --context PATH for one command",
        ) from error
    if asked.hub is None:
        return context
    split(asked.hub)
    return replace(context, hub=asked.hub)


def known(folder: Path) -> list[Known]:
    """All contexts, by name. Raises BadInputError, DiskError for one that can't be read."""
    in_use = _in_use(folder).resolve()
    found = []
    for path in sorted((folder / "contexts").glob("*.toml")):
        context = files.read(path)
        found.append(Known(path.stem, path, context.hub, context.name, path.resolve() == in_use))
    return found


def keep(folder: Path, name: str, context: Context) -> Path:
    """Writes a context under a name and uses it from now on. Raises InvalidNameError, ConflictError, DiskError."""
    path = _path(folder, name)
    _refuse_own_file(folder)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"can't make {path.parent}: {error.strerror}") from error
    files.write(path, context, durable.write_file)
    _link(folder, path)
    return path


def use(folder: Path, name: str) -> Path:
    """Uses another known context from now on. Raises NotFoundError, ConflictError, DiskError."""
    path = _path(folder, name)
    if not path.is_file():
        names = sorted(path.stem for path in (folder / "contexts").glob("*.toml"))
        raise NotFoundError(
            f"there is no context {name!r}",
            nearest=nearest(name, names),
            hint="" if names else "make one with: modelsyncctl login PATH_TO_admin.toml",
        )
    _refuse_own_file(folder)
    _link(folder, path)
    return path


def _path(folder: Path, name: str) -> Path:
    return folder / "contexts" / f"{parse_node(name)}.toml"


def _in_use(folder: Path) -> Path:
    return folder / "context.toml"


def _link(folder: Path, path: Path) -> None:
    durable.switch_link(_in_use(folder), str(path.relative_to(folder)))


def _refuse_own_file(folder: Path) -> None:
    """A file that a person put there by hand is theirs: it is not replaced by a link."""
    path = _in_use(folder)
    if path.exists() and not path.is_symlink():
        raise ConflictError(
            f"{path} is a file of your own, not one that `login` made",
            safe="it was not touched",
            hint=f"move it away and keep it by name: mv {path} /tmp/old.toml && modelsyncctl login /tmp/old.toml",
        )
