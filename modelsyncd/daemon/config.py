"""The only place where a program's settings are read: a TOML file, then flags, into one frozen dataclass.

Law: settings are read once, at the start, and passed down; a key that is wrong in name or type is an error that names
the file, the key and, where one is near, the right key. A section of the file is a field that is itself a dataclass;
a field that is a Mapping has one value for each name that the file chose, as in [gate."acme/helmet@stable"].
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelsyncd.errors import BadInputError, DiskError, NotFoundError
from modelsyncd.names import nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

_WORDS: Mapping[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Path: "a path in quotes",
    tuple: "a list of texts in quotes",
}


def load(cls: type[Settings], path: Path | None, flags: Mapping[str, object]) -> Settings:
    """The settings in the file at `path` (none for None), each replaced by the flag of its name that is not None.

    A field inside a section is named "section.field" in `flags`. A class may judge its values in `__post_init__` and
    raise BadInputError. Raises BadInputError, NotFoundError, DiskError.
    """
    table = _read(path) if path is not None else {}
    source = str(path) if path is not None else "the command line"
    for name, value in flags.items():
        if value is not None:
            _put(table, name.split("."), value)
    return _build(cls, table, source, "")


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no settings file {path}") from error
    except OSError as error:
        raise DiskError(f"can't read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is not TOML: {error}") from error


def _put(table: dict[str, object], names: Sequence[str], value: object) -> None:
    for name in names[:-1]:
        section = table.setdefault(name, {})
        if not isinstance(section, dict):
            return  # the file has a plain value where a section belongs; _build says so
        table = section
    table[names[-1]] = value


def _build(cls: type[Settings], table: Mapping[str, object], source: str, prefix: str) -> Settings:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in table:
        if key not in fields:
            raise _unknown(prefix + key, [prefix + name for name in fields], source)
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], source, prefix + name)
        elif dataclasses.is_dataclass(hints[name]):
            # An absent section may have defaults throughout; if not, this names what is missing in it.
            values[name] = _build(typing.cast("type[DataclassInstance]", hints[name]), {}, source, f"{prefix}{name}.")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BadInputError(f"the setting {prefix + name} is missing", hint=_example(prefix + name, hints[name]))
    return cls(**values)


def _value(hint: object, value: object, source: str, key: str) -> object:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        # of several, the one that the value is of; the last one says what is wrong with it
        hint = next((kind for kind in kinds if isinstance(kind, type) and type(value) is kind), kinds[-1])
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _build(typing.cast("type[DataclassInstance]", hint), value, source, f"{key}.")
    kind = typing.get_origin(hint) or hint
    if kind is Mapping and isinstance(value, Mapping):
        (_, inner) = typing.get_args(hint)
        return {name: _value(inner, each, source, f'{key}."{name}"') for name, each in value.items()}
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
    elif isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    wanted = _WORDS.get(kind, f"a section, [{key}]")
    raise BadInputError(f"{source}: {key} must be {wanted}, not {str(value)[:80]!r}")


def _unknown(key: str, known: Sequence[str], source: str) -> BadInputError:
    near = nearest(key, known, most=1)
    hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
    return BadInputError(f"{source}: there is no setting {key[:80]!r}", hint=hint)


def _example(key: str, hint: object) -> str:
    section, _, name = key.rpartition(".")
    where = f" below [{section}]" if section else ""
    value = "…" if hint in (int, float, bool) else '"…"'
    return f"add it to the settings file{where}: {name} = {value}"
