"""The only place that knows what a knowledge base is: one version with many task models, an index of them, and samples.

    knowledge.json            the index: tasks by name, each with its path and what it is for
    tasks/NAME/…              the model of a task, a folder or one file
    samples/…                 whatever a job keeps beside them

It is a version like any other: fetched, verified and switched whole, and of the next one only the task models that have
changed travel. Law: the index is somebody else's word; a path in it that leads out of the version is never followed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import link
from pathlib import Path
from types import MappingProxyType

from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.limits import LIMITS
from modelsyncd.names import check_path, nearest, parse_place

INDEX = "knowledge.json"
TASKS, SAMPLES = "tasks", "samples"
FORMAT = 1
INDEX_BYTES = 32 << 20
MOST = 100_000  # tasks
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Task:
    """A task and the model for it; `path` is relative to the version, `attributes` say when it is meant."""

    name: str
    path: str
    attributes: Mapping[str, str] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A knowledge base on this disk. `folder` is the version's, which never changes.

    >>> with client.acquire("acme/tolls@stable") as model:
    ...     path = Knowledge.at(model.path).task("night")
    """

    folder: Path
    tasks: Mapping[str, Task]

    @classmethod
    def at(cls, folder: Path) -> Knowledge:
        """Reads the index of a version. Raises NotFoundError for one that is none, BadInputError for a wrong index."""
        index = folder / INDEX
        try:
            with index.open("rb") as file:
                data = file.read(INDEX_BYTES + 1)
        except OSError as error:
            raise NotFoundError(f"{folder} is no knowledge base: it has no {INDEX}") from error
        if len(data) > INDEX_BYTES:
            raise BadInputError(f"{index} has more than {INDEX_BYTES} bytes")
        return cls(folder, {task.name: task for task in read_index(data)})

    def task(self, name: str) -> Path:
        """The model of a task: a folder, or a file. Raises NotFoundError, which names the nearest task."""
        found = self.tasks.get(name)
        path = self.folder / found.path if found is not None else None
        if path is None or not path.exists():
            close = nearest(name, self.tasks)
            hint = "" if close else f"there are {len(self.tasks)} tasks: {', '.join(sorted(self.tasks)[:5])} …"
            raise NotFoundError(f"there is no task {name[:80]!r}", hint=hint, nearest=close)
        return path

    def matching(self, **attributes: str) -> list[Task]:
        """Tasks with all of these attributes, by name."""
        wanted = attributes.items()
        return [task for _, task in sorted(self.tasks.items()) if wanted <= task.attributes.items()]

    @property
    def samples(self) -> Path | None:
        """The folder of samples, if there is one."""
        path = self.folder / SAMPLES
        return path if path.is_dir() else None


def read_index(data: bytes) -> list[Task]:
    """The tasks of an index. Raises BadInputError and its kind for one that is none, or names what is not safe."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{INDEX} is no JSON: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT or not isinstance(said.get("tasks"), dict):
        raise BadInputError(f"{INDEX} is not of format {FORMAT}", hint="docs/knowledge-bases.md shows it")
    if len(said["tasks"]) > MOST:
        raise BadInputError(f"a knowledge base has {MOST} tasks at most")
    return [_task(name, one) for name, one in said["tasks"].items()]


def _task(name: str, one: object) -> Task:
    if not isinstance(one, dict) or not isinstance(one.get("path"), str):
        raise BadInputError(f"task {name[:80]!r} has no path")
    attributes = one.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise BadInputError(f"the attributes of task {name[:80]!r} are no texts")
    return Task(parse_place(name), check_path(one["path"]), attributes)


def write_index(tasks: Mapping[str, Task]) -> bytes:
    """The same tasks are the same bytes."""
    listed = {
        name: {"path": task.path, "attributes": dict(sorted(task.attributes.items()))}
        for name, task in sorted(tasks.items())
    }
    return json.dumps({"format": FORMAT, "tasks": listed}, indent=1, ensure_ascii=False).encode() + b"\n"


def lay_out(
    target: Path,
    tasks: Mapping[str, Path],
    attributes: Mapping[str, Mapping[str, str]],
    samples: Path | None = None,
    before: Knowledge | None = None,
) -> Knowledge:
    """Makes a knowledge base in `target`, an empty folder, of files elsewhere: hard links where that can be.

    `before` is what it takes over: tasks that are not named, the attributes of those that are, and samples when there
    are none. Raises BadInputError for
    a name that is not safe or an attribute of no task, NotFoundError, OSError.
    """
    found: dict[str, Task] = {}
    if before is not None:
        for name, task in before.tasks.items():
            if name not in tasks:
                _copy(before.folder / task.path, target / task.path)
                found[name] = task
    for name, path in tasks.items():
        if not path.exists():
            raise NotFoundError(f"there is no {path}, the model of task {name}")
        place = f"{TASKS}/{parse_place(name)}" + (f"/{path.name}" if path.is_file() else "")
        _copy(path, target / check_path(place))
        earlier = before.tasks.get(name) if before is not None else None
        found[name] = Task(name, place, earlier.attributes if earlier is not None else _NONE)
    for name, several in attributes.items():
        if name not in found:
            raise BadInputError(f"an attribute is given for {name[:80]!r}, which is no task")
        if any(len(word) > LIMITS.label_chars for pair in several.items() for word in pair):
            raise BadInputError(f"an attribute of {name} has more than {LIMITS.label_chars} characters")
        found[name] = Task(name, found[name].path, {**found[name].attributes, **several})
    kept = samples or (before.samples if before is not None else None)
    if kept is not None:
        _copy(kept, target / SAMPLES)
    (target / INDEX).write_bytes(write_index(found))
    return Knowledge(target, found)


def _copy(source: Path, target: Path) -> None:
    for path in _files(source):
        place = target / path.relative_to(source) if source.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            link(path.resolve(), place)
        except OSError:
            shutil.copyfile(path, place)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for one in sorted(path.iterdir()):
            yield from _files(one)
    else:
        yield path
