"""The only list of the settings for Sedna's jobs: the sections [sedna] and [sedna.job."NAMESPACE/NAME"]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What people write about one job. `edge_agent.sedna.jobs.understand` judges it."""

    model: str
    """The model, as in "acme/helmet"."""
    serving: str = "stable"
    """Channel that workers serve from; a rule at the hub moves it to what is better."""
    candidate: str = "candidate"
    """Channel that trained models are published to, and that is evaluated."""
    file: str = ""
    """Which file of a version is the model; may be left out where there is only one."""
    folders: tuple[str, ...] = ()
    """Where the job looks for its files: FOLDER, or FOLDER=WHERE_THE_JOB_SEES_IT; DATA/sedna/NAMESPACE/NAME without."""
    shared: bool = False
    """Lets workers of other users write beside our files there, so that the folder can be their TMPDIR."""
    results: tuple[str, ...] = ()
    """Folders from which trained models may be published."""
    paths: tuple[str, ...] = ()
    """What the job calls a folder, and where that lies on this machine: SEEN=FOLDER."""
    format: str = ""
    """Which of several trained formats goes to the candidate channel; the first one reported without."""
    trigger: str = ""
    """By what agents once judged models, as in "precision_delta >= 0.01": refused, with the rule that says it now."""
    grace_seconds: float = 600.0
    """How long a model's file stays after the next one was named."""


@dataclass(frozen=True, slots=True)
class SednaSettings:
    """The section; nothing of it happens without a job or an address in it."""

    listen: str = ""
    """127.0.0.1:PORT for what workers report; Sedna's workers expect 9100."""
    users: tuple[str, ...] = ()
    """Local users, by name or number, who may report; everybody of this machine without."""
    job: Mapping[str, JobSettings] = field(default_factory=dict)
