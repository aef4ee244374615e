"""The only place that says what is kept of a report until it is done, and how that is written down."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from edge_agent.sedna.deeds import Known
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError

KEY = 16  # bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A report as it is kept: when it came, and what was known then.

    `id` (hex) is the report's own, so that what follows from it counts once however often it is carried out. `marks`
    say, for each path that it reports, how the files there looked when it came.
    """

    worker: str
    body: bytes
    known: Known
    at: float
    id: str
    marks: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """For the spool."""
        return json.dumps({**asdict(self), "body": base64.b64encode(self.body).decode()}).encode()

    def key(self, *what: object) -> bytes:
        """Names something that follows from this report, the same each time."""
        return digest_of(json.dumps([self.id, *map(str, what)]).encode())[:KEY]


def decode(raw: bytes) -> Entry:
    """What `encode` wrote, of earlier versions too. Raises BadInputError."""
    try:
        said = json.loads(raw)
        return Entry(
            worker=str(said["worker"]),
            body=base64.b64decode(said["body"]),
            known=Known(**said["known"]),
            at=float(said["at"]),
            id=str(said.get("id") or digest_of(raw)[:KEY].hex()),
            marks={str(url): str(mark) for url, mark in dict(said.get("marks", {})).items()},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError("a report that waits here can't be read") from error
