"""The only place that looks up what a promotion rule compares: the numbers and traits of two releases of one model.

A metric of a release is the newest number of that name that was recorded about it, or else what it was published with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cloud_hub.catalog import schema, traits
from cloud_hub.catalog.moves import Lane
from modelsyncd.query.deciding import Answer, decide, fields_of
from modelsyncd.query.judging import Value
from modelsyncd.query.traits import METRIC
from modelsyncd.query.words import Condition, Field
from modelsyncd.wire.nouns import decode_release


@dataclass(frozen=True, slots=True)
class Counted:
    """Which numbers count: those on this data set and of this stage ("" for any), about this variant.

    With variant "" it is those about the release as a whole, and about the first of its variants.
    """

    dataset: str = ""
    stage: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One value that was looked at: of which release (0 for a channel that names none), and None where it is missing.

    `current` tells the release that the channel names from the one that is judged; `dataset` is what a number was
    measured on.
    """

    field: str
    current: bool
    number: int
    value: Value | None
    dataset: str = ""

    def __str__(self) -> str:
        """As in "precision of :4 = 0.91 on night"."""
        name = self.field.removeprefix(METRIC)
        whose = f":{self.number}" if self.number else "no current release"
        if self.value is None:
            return f"{name} of {whose} is not known"
        shown = self.value if isinstance(self.value, str) else f"{self.value:.6g}"
        return f"{name} of {whose} = {shown}{f' on {self.dataset}' if self.dataset else ''}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The answer, and every value that was looked at for it."""

    answer: Answer
    compared: Sequence[Compared]


_Found = Sequence[tuple[Value, str]]


class Witness:
    """Says what is known of a model's releases, within one transaction."""

    def __init__(self, connection: Connection, lane: Lane, counted: Counted) -> None:
        self._connection = connection
        self._lane = lane
        self._counted = counted

    def judge(self, condition: Condition, candidate: int, current: int) -> Evidence:
        """Whether the condition holds for the release `candidate` beside `current`, 0 for none."""
        compared = {
            field: self._compared(field, current if field.current else candidate) for field in fields_of(condition)
        }

        def look(field: Field) -> Sequence[Value]:
            return [one.value for one in compared[field] if one.value is not None]

        return Evidence(decide(condition, look), [one for each in compared.values() for one in each])

    def _compared(self, field: Field, number: int) -> Sequence[Compared]:
        found = self._found(field.name, number) if number else ()
        shown = [Compared(field.name, field.current, number, value, dataset) for value, dataset in found]
        return shown or [Compared(field.name, field.current, number, None)]

    def _found(self, name: str, number: int) -> _Found:
        """Values of a field, each with the data set that it was measured on."""
        if name == "model":
            return [(str(self._lane.model), "")]
        if name == "number":
            return [(float(number), "")]
        rows = schema.releases
        this = select(rows.c.id).where(rows.c.model_id == self._lane.model_id, rows.c.number == number)
        release = self._connection.scalars(this).one()
        if name.startswith(METRIC):
            return self._metric(release, number, name.removeprefix(METRIC))
        if name == "channel":
            table = schema.channels
            query = select(table.c.name).where(table.c.release_id == release).order_by(table.c.name)
            return [(channel, "") for channel in self._connection.scalars(query)]
        found = traits.load(self._connection, [release], [name])[release]
        wanted = self._counted.variant
        return [(one.value, "") for one in found if not wanted or one.variant in {"", wanted}]

    def _forms(self, release: int) -> Sequence[str]:
        """Numbers about which variants count: what is measured of the first one holds for the release."""
        if self._counted.variant:
            return (self._counted.variant,)
        return traits.forms_of(self._connection, release)

    def _metric(self, release: int, number: int, name: str) -> _Found:
        table, counted = schema.numbers, self._counted
        about = (table.c.model == str(self._lane.model), table.c.number == number, table.c.name == name)
        query = select(table.c.value, table.c.dataset).where(*about, table.c.variant.in_(self._forms(release)))
        if counted.dataset:
            query = query.where(table.c.dataset == counted.dataset)
        if counted.stage:
            query = query.where(table.c.stage == counted.stage)
        newest = self._connection.execute(query.order_by(table.c.at.desc(), table.c.id.desc()).limit(1)).one_or_none()
        if newest is not None:
            return [(newest.value, newest.dataset)]
        if counted != Counted():
            return ()
        rows = schema.releases
        published = self._connection.scalars(select(rows.c.bytes).where(rows.c.id == release)).one()
        metrics = decode_release(published).metrics
        return [(metrics[name], "")] if name in metrics else ()
