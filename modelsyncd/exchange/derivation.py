"""The only place that takes a step: a folder of files becomes another one, by a recipe or by a command, in a process.

The step's output folder is empty before and must not be after. A step that is interrupted, or fails, leaves nothing
that counts; whoever takes it throws the input away when it is done. A step ends with whoever takes it, also when that
one is killed; that is `guard`'s work.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError
from modelsyncd.exchange import guard
from modelsyncd.recipes import recipe as recipes
from modelsyncd.release import Derivation
from modelsyncd.store.durable import disk_errors, make_folder, remove_tree

LINES = 20  # of what the process said last, which are told when it fails
LINE_CHARS = 500
GRACE = 10.0  # seconds between asking the process to end and ending it
IN, OUT = "{in}", "{out}"


@dataclass(frozen=True, slots=True)
class Doing:
    """What is done to a version: a recipe with its options, or a command's words with {in} and {out} in them."""

    step: Digest
    recipe: str = ""
    version: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return self.recipe or self.command[0]

    def derivation(self, source: Digest) -> Derivation:
        """How what it makes of the version with this manifest is told."""
        options = dict(self.options) or {str(place): word for place, word in enumerate(self.command)}
        return Derivation(source, self.step, self.recipe, self.version, options)


def by_recipe(name: str, options: Mapping[str, str]) -> Doing:
    """Raises NotFoundError for a recipe that is not there, BadInputError for one that can't be loaded or an option."""
    found = recipes.step(recipes.named(name), options)
    return Doing(found.digest, found.recipe.name, found.recipe.version, found.options)


def by_command(words: Sequence[str]) -> Doing:
    """Raises BadInputError for a command that does not say where it reads and writes."""
    text = " ".join(words)
    for place, what in ((IN, "reads"), (OUT, "writes")):
        if place not in text:
            raise BadInputError(
                f"the command does not say where it {what}: there is no {place} in it",
                hint="as in: -- python convert.py {in}/model.pt {out}/model.onnx",
            )
    return Doing(digest_of(json.dumps({"command": list(words)}).encode()), command=tuple(words))


async def take(doing: Doing, source: Path, target: Path) -> None:
    """Makes the files of `source` into those of `target`, which is emptied first.

    Raises BadInputError with what the process said last when it fails, makes nothing or changes the source, which is
    then removed; DiskError.
    """
    await asyncio.to_thread(_emptied, target)
    before = await asyncio.to_thread(_shut, source)
    with TemporaryFile() as log:  # a pipe would be held open by what the process leaves running
        try:
            code = await _run(doing, source, target, log)
        finally:
            changed = await asyncio.to_thread(_opened, source) != before
            if changed:
                await asyncio.to_thread(remove_tree, source)
        said = await asyncio.to_thread(_last, log)
    if code != 0:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise BadInputError(
            f"{doing.name} failed with {how}" + ("".join(f"\n  {line}" for line in said) if said else ""),
            safe="nothing was published",
            hint="the version that it read can be had by `modelsyncctl pull`",
        )
    if changed:
        raise BadInputError(
            f"{doing.name} wrote to what it should only read, so nobody knows what the result was made from",
            safe="nothing was published",
            hint=f"it writes to {OUT} only",
        )
    if not await asyncio.to_thread(_has_files, target):
        raise BadInputError(
            f"{doing.name} ended well and made no files", safe="nothing was published", hint=f"it writes to {OUT}"
        )


async def _run(doing: Doing, source: Path, target: Path, said: BinaryIO) -> int:
    """The exit code. Whatever the process began ends with it, and all of it with us."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-P", guard.__file__),
            *_words(doing, source, target),
            stdin=asyncio.subprocess.PIPE,  # nothing is written: that it is closed tells the guard that we are gone
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            start_new_session=True,
            env={**os.environ, "MODELSYNCD_SOURCE": str(source), "MODELSYNCD_TARGET": str(target)},
        )
    except OSError as error:
        raise _unable(doing, error.strerror) from error
    try:
        told = await process.stdout.read() if process.stdout else b""
    finally:
        code = await _end(process)
    if not told:
        return code  # the guard was killed itself
    found = json.loads(told)
    if guard.UNABLE in found:
        raise _unable(doing, str(found[guard.UNABLE]))
    return int(found[guard.CODE])


def _unable(doing: Doing, why: str | None) -> BadInputError:
    return BadInputError(f"can't run {doing.name!r}: {why}", safe="nothing was published")


def _words(doing: Doing, source: Path, target: Path) -> list[str]:
    if doing.recipe:
        options = json.dumps(dict(doing.options))
        return [sys.executable, "-m", "modelsyncd.recipes", doing.recipe, options, str(source), str(target)]
    return [word.replace(IN, str(source)).replace(OUT, str(target)) for word in doing.command]


def _last(said: BinaryIO) -> list[str]:
    """The last lines, however many there are."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - LINES * LINE_CHARS))
    return [_line(line) for line in said.read().split(b"\n") if line.strip()][-LINES:]


def _line(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").rstrip()
    return "".join(char for char in text if char.isprintable())[:LINE_CHARS]


async def _end(process: asyncio.subprocess.Process) -> int:
    """Asks it to end if it still runs; then all that it began is ended, which could write while the result is read."""
    if process.returncode is None:
        _kill(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()
    _kill(process, signal.SIGKILL)
    return await process.wait()


def _kill(process: asyncio.subprocess.Process, how: signal.Signals) -> None:
    """The whole group: its number is not given to another while a process of it is there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, how)


def reopen(folder: Path) -> None:
    """Makes what lies there, if anything, writable: a step that was killed could not. Raises DiskError."""
    if folder.is_dir():
        _opened(folder)


_Seen = list[tuple[str, int, int, int]]


def _shut(source: Path) -> _Seen:
    """What lies there, from now on read-only."""
    for path in (*source.rglob("*"), source):
        with disk_errors(path):
            path.chmod(path.stat().st_mode & ~0o222)
    return _seen(source)


def _opened(source: Path) -> _Seen:
    """What lies there; it may be written to and removed again."""
    seen = _seen(source)
    for path in (source, *source.rglob("*")):
        with disk_errors(path):
            if not path.is_symlink():  # what a command made may lead anywhere
                path.chmod(path.stat().st_mode | 0o200)
    return seen


def _seen(source: Path) -> _Seen:
    with disk_errors(source):
        stats = [(path, path.lstat()) for path in (source, *sorted(source.rglob("*")))]
    return [(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def _emptied(target: Path) -> None:
    if target.exists():
        reopen(target)
        remove_tree(target)
    make_folder(target)


def _has_files(target: Path) -> bool:
    with disk_errors(target):
        return any(path.is_file() for path in target.rglob("*"))
