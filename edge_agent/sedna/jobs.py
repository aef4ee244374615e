"""The only place that says what a job of Sedna is here: its model, its channels and its folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_agent.sedna.settings import JobSettings
from edge_agent.sedna.trigger import Trigger, refusal
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, ModelRef, check_path, parse_channel, parse_model


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of this machine that a job looks into; `seen` is what the job calls it, None when the same."""

    folder: Path
    seen: PurePosixPath | None = None

    @property
    def mounted(self) -> bool:
        """Whether the job sees this folder and nothing around it, so that what leads out of it leads nowhere."""
        return self.seen is not None

    def as_seen(self, name: str) -> str:
        """Path of a file in it, as the job has to write it."""
        return str((self.seen or PurePosixPath(self.folder)) / name)


@dataclass(frozen=True, slots=True)
class Alias:
    """What a job calls `seen` lies in `folder` on this machine."""

    seen: PurePosixPath
    folder: Path


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `file` is the path of the model in its version, "" for its only one; `grace` is in seconds."""

    name: str
    serving: ModelRef
    candidate: ModelRef
    file: str
    places: tuple[Place, ...]
    shared: bool
    results: tuple[Path, ...]
    aliases: tuple[Alias, ...]
    format: str
    grace: float

    @property
    def model(self) -> ModelName:
        """The model of both channels."""
        return self.serving.model


def understand(name: str, settings: JobSettings, data: Path) -> Job:
    """What was meant; `data` is the agent's folder. Touches no disk. Raises BadInputError, InvalidNameError."""
    namespace, slash, short = name.partition("/")
    if not slash or not all(_is_kubernetes_name(each) for each in (namespace, short)):
        raise BadInputError(
            f"{name[:80]!r} is no job of Sedna", hint='write [sedna.job."NAMESPACE/NAME"], as in "default/helmet"'
        )
    if settings.serving == settings.candidate:
        raise BadInputError(f"{name}: serving and candidate are one channel, {settings.serving!r}")
    if settings.grace_seconds < 0:
        raise BadInputError(f"{name}: grace_seconds can't be less than nothing")
    model = parse_model(settings.model)
    own = Place(data / "sedna" / namespace / short)
    return Job(
        name=name,
        serving=ModelRef(model, channel=parse_channel(settings.serving)),
        candidate=ModelRef(model, channel=parse_channel(settings.candidate)),
        file=check_path(settings.file) if settings.file else "",
        places=tuple(_place(name, text) for text in settings.folders) or (own,),
        shared=settings.shared,
        results=tuple(_absolute(name, text) for text in settings.results),
        aliases=tuple(_alias(name, text) for text in settings.paths),
        format=settings.format,
        grace=settings.grace_seconds,
    )


def understand_all(settings: Mapping[str, JobSettings], data: Path) -> dict[str, Job]:
    """Every job by its name.

    Raises as `understand`, and BadInputError for two jobs that write into one folder, and for triggers.
    """
    jobs = {name: understand(name, one, data) for name, one in settings.items()}
    triggers = {
        name: Trigger(jobs[name].serving, jobs[name].candidate, one.trigger)
        for name, one in settings.items()
        if one.trigger
    }
    if triggers:
        raise refusal(triggers)
    owners: dict[Path, str] = {}
    for job in jobs.values():
        for place in job.places:
            if place.folder in owners:
                raise BadInputError(f"the jobs {owners[place.folder]} and {job.name} have one folder, {place.folder}")
            owners[place.folder] = job.name
    return jobs


def _place(job: str, text: str) -> Place:
    folder, equals, seen = text.partition("=")
    return Place(_absolute(job, folder), PurePosixPath(_absolute(job, seen)) if equals else None)


def _alias(job: str, text: str) -> Alias:
    seen, equals, folder = text.partition("=")
    if not equals:
        raise BadInputError(f"{job}: {text[:80]!r} says nothing", hint="write SEEN_BY_THE_JOB=FOLDER_HERE")
    return Alias(PurePosixPath(_absolute(job, seen)), _absolute(job, folder))


def _absolute(job: str, text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or "\0" in text:
        raise BadInputError(f"{job}: {text[:80]!r} is not the whole path of a folder", hint="begin it with /")
    return path


def _is_kubernetes_name(text: str) -> bool:
    """RFC 1123, as Kubernetes has it (kubernetes.io/docs/concepts/overview/working-with-objects/names)."""
    return 0 < len(text) <= 253 and text[0].isalnum() and text[-1].isalnum() and set(text) <= _LETTERS


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
