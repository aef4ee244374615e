"""The only place that reads and writes the file by which a person's tools find and enter a hub. It holds a secret."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.errors import BadInputError
from modelsyncd.trust.identity import SECRET_MODE, Identity, Write, read_file

_FIELDS = ("hub", "name", "authority", "certificate", "key")


@dataclass(frozen=True, slots=True)
class Context:
    """A hub's address ("HOST:PORT"), and who we are there."""

    hub: str
    name: str
    identity: Identity


def read(path: Path) -> Context:
    """The context in a TOML file. Raises NotFoundError, DiskError, BadInputError."""
    try:
        fields = tomllib.loads(read_file(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"{path} is not TOML: {error}", hint="copy admin.toml from the hub's data folder"
        ) from error
    missing = [name for name in _FIELDS if not isinstance(fields.get(name), str)]
    if missing:
        raise BadInputError(
            f"{path} lacks {', '.join(missing)}",
            hint=f"a context has {', '.join(_FIELDS)}; copy admin.toml from the hub's data folder",
        )
    identity = Identity(
        key=fields["key"].encode(),
        certificate=fields["certificate"].encode(),
        authority=fields["authority"].encode(),
    )
    return Context(fields["hub"], fields["name"], identity)


def write(path: Path, context: Context, write_file: Write) -> None:
    """Writes the context for its owner's eyes only. Raises DiskError, DiskFullError."""
    identity = context.identity
    lines = [
        "# Lets modelsyncctl into a hub. Whoever has this file may do everything there: keep it to yourself.",
        f"hub = {_text(context.hub)}",
        f"name = {_text(context.name)}",
        f"authority = {_block(identity.authority)}",
        f"certificate = {_block(identity.certificate)}",
        f"key = {_block(identity.key)}",
        "",
    ]
    write_file(path, "\n".join(lines).encode(), SECRET_MODE)


def _text(value: str) -> str:
    if not value.isprintable() or '"' in value or "\\" in value:
        raise BadInputError(f"{value[:80]!r} can't stand in a context")
    return f'"{value}"'


def _block(pem: bytes) -> str:
    return f"'''\n{pem.decode()}'''"  # a literal string: PEM has no quotes
