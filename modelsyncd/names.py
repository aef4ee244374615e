"""The only place where names are judged: models, channels, nodes, references, and the paths inside a model.

Names become folders on every node and words in every shell, so the rules are narrow: lower-case letters, digits, and
`.`, `_`, `-` inside; 1 to 64 characters. Paths inside a model may be any Unicode, but must mean one and the same file
on every node: relative, no `..`, no control characters, no two equal when case is folded, no name that Windows keeps
for devices (https://learn.microsoft.com/windows/win32/fileio/naming-a-file).
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelsyncd.errors import HostilePathError, InvalidNameError

_WORD = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DEVICES = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³"),
}
_RESERVED_CHANNELS = {"versions"}
PATH_BYTES = 1_024  # bytes of UTF-8 of a whole path: fits below PATH_MAX 4,096 with room for the store's own folders
PART_BYTES = 255  # bytes of UTF-8 of one part: NAME_MAX of ext4, xfs, btrfs, APFS
DEPTH = 32  # parts of a path: each folder costs memory here and an inode on every node
DEFAULT_CHANNEL = "stable"


@dataclass(frozen=True, slots=True, order=True)
class ModelName:
    """`namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model, and at most one of a channel and a number."""

    model: ModelName
    channel: str | None = None
    number: int | None = None

    def __str__(self) -> str:
        if self.channel is not None:
            return f"{self.model}@{self.channel}"
        return str(self.model) if self.number is None else f"{self.model}:{self.number}"


def _word(text: str, what: str) -> str:
    if not _WORD.fullmatch(text) or ".." in text or text.split(".", maxsplit=1)[0] in _DEVICES:
        raise InvalidNameError(
            f"{text[:80]!r} is no name for a {what}",
            hint="use 1 to 64 lower-case letters, digits, '.', '_' or '-', with a letter or digit at both ends",
        )
    return text


def parse_model(text: str) -> ModelName:
    """`namespace/name`. Raises InvalidNameError."""
    namespace, slash, name = text.partition("/")
    if not slash:
        raise InvalidNameError(f"{text[:80]!r} is no model", hint="a model is namespace/name, as in acme/helmet")
    return ModelName(_word(namespace, "namespace"), _word(name, "model"))


def parse_ref(text: str) -> ModelRef:
    """`namespace/name`, `namespace/name@channel` or `namespace/name:number`. Raises InvalidNameError."""
    if "@" in text:
        model, _, channel = text.partition("@")
        return ModelRef(parse_model(model), channel=parse_channel(channel))
    if ":" in text:
        model, _, number = text.partition(":")
        if not re.fullmatch(r"[1-9][0-9]{0,17}", number):
            raise InvalidNameError(f"{number[:80]!r} is no release number", hint="numbers are 1, 2, 3, …")
        return ModelRef(parse_model(model), number=int(number))
    return ModelRef(parse_model(text))


def parse_channel(text: str) -> str:
    """A channel's name. Raises InvalidNameError."""
    if text in _RESERVED_CHANNELS:
        raise InvalidNameError(f"a channel can't be called {text!r}: a folder of the node's store has that name")
    return _word(text, "channel")


def parse_node(text: str) -> str:
    """A node's name. Raises InvalidNameError."""
    return _word(text, "node")


def parse_variant(text: str) -> str:
    """The name of a variant of a release. Raises InvalidNameError."""
    return _word(text, "variant")


def parse_place(text: str) -> str:
    """The name of a member's place in a bundle, a folder of it. Raises InvalidNameError."""
    return _word(text, "place in a bundle")


def check_path(path: str) -> str:
    """Returns the relative path of a file inside a model if it is safe on every node. Raises HostilePathError."""
    shown = repr(path[:80])
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path:
        raise HostilePathError(f"{shown} is not a relative path with /")
    if any(part in ("", ".", "..") for part in parts):
        raise HostilePathError(f"{shown} has an empty part, '.' or '..'")
    if any(unicodedata.category(char) == "Cs" for char in path):
        raise HostilePathError(f"{shown} is not UTF-8", hint="rename the file")
    if any(unicodedata.category(char) == "Cc" for char in path):
        raise HostilePathError(f"{shown} has a control character", hint="rename the file")
    if unicodedata.normalize("NFC", path) != path:
        raise HostilePathError(f"{shown} is not in Unicode's NFC form", hint="rename the file")
    if len(path.encode()) > PATH_BYTES or any(len(part.encode()) > PART_BYTES for part in parts):
        raise HostilePathError(f"{shown} is longer than {PATH_BYTES} bytes, or one part longer than {PART_BYTES}")
    if len(parts) > DEPTH:
        raise HostilePathError(f"{shown} is deeper than {DEPTH} folders")
    for part in parts:
        stem = part.split(".")[0].rstrip(" ").casefold()  # Windows ignores the extension and spaces before it
        if stem in _DEVICES or part[-1] in ". " or re.search(r'[<>:"|?*]', part):
            raise HostilePathError(f"{shown}: {part[:80]!r} can't exist on every system", hint="rename the file")
    return path


def check_paths(paths: Sequence[str]) -> None:
    """Checks all paths of one model together. Raises HostilePathError for a bad one, or for two that clash."""
    if list(paths) != sorted(paths):
        raise HostilePathError("the files are not in ascending order of path")
    files: dict[str, str] = {}
    for path in paths:
        folded = _folded(check_path(path))
        if folded in files:
            raise HostilePathError(
                f"{files[folded][:80]!r} and {path[:80]!r} are one file where case does not count", hint="rename one"
            )
        files[folded] = path
    folders: dict[str, str] = {}
    for path in paths:
        _check_folders(path, files, folders)


def _check_folders(path: str, files: dict[str, str], folders: dict[str, str]) -> None:
    """Enters the folders of a path into `folders`, deepest first; where one is known, those above it are."""
    folder, slash, _ = path.rpartition("/")
    while slash:
        folded = _folded(folder)
        if folded in files:
            raise HostilePathError(f"{files[folded][:80]!r} is both a file and a folder")
        known = folders.get(folded)
        if known == folder:
            return
        if known is not None:
            raise HostilePathError(f"{known[:80]!r} and {folder[:80]!r} are one folder where case does not count")
        folders[folded] = folder
        folder, slash, _ = folder.rpartition("/")


def _folded(path: str) -> str:
    """Equal for two paths that are one where case does not count (Unicode 3.13, D145: canonical caseless matching)."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that look most like this one, best first."""
    return difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)
