"""The only place where promotion rules are kept and carried out; judging and moving are one transaction.

Law: a rule moves its channel only to a release with a higher number than every one that the channel has named. So it
never moves the channel back, never twice to one release, and never undoes a roll-back. A channel that names nothing yet
has nothing to compare with: what a rule says of `current` is unknown then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, RowMapping, delete, func, insert, select

from cloud_hub.catalog import moves, schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.evidence import Compared, Counted, Witness
from cloud_hub.catalog.moves import Lane, Reason
from cloud_hub.catalog.rows import MoveRow
from modelsyncd.errors import NotFoundError
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelName, ModelRef, parse_model
from modelsyncd.query.deciding import Answer
from modelsyncd.query.parser import parse_rule

KIND = "rule"


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule that stays with a model's channel; `candidates` is the channel that is judged, "" for the newest release.

    `counted` says which numbers count. `at` is seconds since 1970 UTC.
    """

    model: ModelName
    channel: str
    candidates: str
    condition: str
    counted: Counted
    who: str
    at: float
    note: str = ""


class Outcome(Enum):
    """What came of judging a candidate."""

    MOVED = "moved"
    THERE = "there"
    """The channel names the candidate already."""
    OLD = "old"
    """The channel names, or has named, the candidate or a newer release: a kept rule lets it be."""
    FAILS = "fails"
    UNKNOWN = "unknown"
    """A value is missing."""
    NONE = "none"
    """There is no candidate."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judgement: numbers are 0 for none; `move` is there only when the channel was moved."""

    outcome: Outcome
    candidate: int
    current: int
    compared: Sequence[Compared] = ()
    move: MoveRow | None = None


class Rules:
    """Rules. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, rule: RuleRow) -> Judgement:
        """Keeps the rule in the place of the channel's earlier one, and applies it.

        Raises NotFoundError, BadInputError.
        """
        table = schema.rules
        this = (table.c.model == str(rule.model), table.c.channel == rule.channel)
        with self._database.write() as connection:
            _model_id(connection, rule.model)
            connection.execute(delete(table).where(*this))
            connection.execute(insert(table).values(**_values(rule)))
            return _apply(connection, rule, rule.at)

    def remove(self, model: ModelName, channel: str) -> RuleRow:
        """Ends the channel's rule. Raises NotFoundError."""
        table = schema.rules
        this = (table.c.model == str(model), table.c.channel == channel)
        with self._database.write() as connection:
            found = connection.execute(select(table).where(*this)).mappings().one_or_none()
            if found is None:
                raise NotFoundError(f"{model}@{channel} has no rule", hint=f"modelsyncctl rule list {model}")
            connection.execute(delete(table).where(*this))
        return _row(found)

    def list(self, model: ModelName | None = None) -> Sequence[RuleRow]:
        """All rules, or a model's, by model and channel."""
        with self._database.read() as connection:
            return _of(connection, model)

    def once(self, rule: RuleRow, ref: ModelRef) -> Judgement:
        """Judges the release that `ref` names and moves the channel if the condition holds; nothing is kept.

        A person may say it of any release, an older one too. Raises NotFoundError, BadInputError.
        """
        with self._database.write() as connection:
            lane = Lane(_model_id(connection, ref.model), ref.model, rule.channel)
            candidate = _candidate(connection, lane, ref.channel or "") if ref.number is None else ref.number
            if not _is_there(connection, lane, candidate):
                raise NotFoundError(f"there is no release {ref}", hint=f"modelsyncctl history {ref.model}")
            return _judge(connection, rule, lane, candidate, Reason(moves.PROMOTE, rule.who, rule.note, rule.at))

    def models(self) -> Sequence[ModelName]:
        """Those that have rules."""
        with self._database.read() as connection:
            return list(dict.fromkeys(rule.model for rule in _of(connection, None)))

    def apply(self, model: ModelName, candidates: str | None, now: float) -> Sequence[MoveRow]:
        """Carries out the model's rules that judge what `candidates` names, or all; what was moved, in order.

        What one of them moves, others may judge: they are carried out, too.
        """
        done: list[MoveRow] = []
        with self._database.write() as connection:
            rules = _of(connection, model)
            asked = [rule for rule in rules if candidates in {None, rule.candidates}]
            while asked:  # ends: each round moves a channel to a release that is newer than all it has named
                judgements = [_apply(connection, rule, now) for rule in asked]
                made = [judgement.move for judgement in judgements if judgement.move is not None]
                done += made
                moved = {move.channel for move in made}
                asked = [rule for rule in rules if rule.candidates in moved]
        return done


def _apply(connection: Connection, rule: RuleRow, now: float) -> Judgement:
    lane = Lane(_model_id(connection, rule.model), rule.model, rule.channel)
    candidate = _candidate(connection, lane, rule.candidates)
    if candidate == 0:
        return Judgement(Outcome.NONE, 0, _named(connection, lane))
    if candidate <= _highest(connection, lane):
        current = _named(connection, lane)
        return Judgement(Outcome.THERE if current == candidate else Outcome.OLD, candidate, current)
    return _judge(connection, rule, lane, candidate, Reason(KIND, rule.who, rule.note, now))


def _judge(connection: Connection, rule: RuleRow, lane: Lane, candidate: int, reason: Reason) -> Judgement:
    current = _named(connection, lane)
    if current == candidate:
        return Judgement(Outcome.THERE, candidate, current)
    condition = parse_rule(rule.condition, reason.now)
    seen = Witness(connection, lane, rule.counted).judge(condition, candidate, current)
    if seen.answer is not Answer.YES:
        outcome = Outcome.UNKNOWN if seen.answer is Answer.UNKNOWN else Outcome.FAILS
        return Judgement(outcome, candidate, current, seen.compared)
    note = _note(rule, seen.compared, reason.note)
    move = moves.lay(connection, lane, candidate, Reason(reason.kind, reason.who, note, reason.now))
    return Judgement(Outcome.MOVED, candidate, current, seen.compared, move)


def _note(rule: RuleRow, compared: Sequence[Compared], said: str) -> str:
    values = ", ".join(str(one) for one in compared)
    said = f"{said}; " if said else ""
    return f"{said}{rule.condition} [{values}]"[: LIMITS.note_chars]


def _candidate(connection: Connection, lane: Lane, candidates: str) -> int:
    if candidates:
        return _named(connection, Lane(lane.model_id, lane.model, candidates))
    table = schema.releases
    query = select(func.max(table.c.number)).where(table.c.model_id == lane.model_id)
    return connection.scalars(query).one() or 0


def _model_id(connection: Connection, model: ModelName) -> int:
    table = schema.models
    found: int | None = connection.scalars(select(table.c.id).where(table.c.name == str(model))).one_or_none()
    if found is None:
        raise NotFoundError(f"there is no model {model}", hint="modelsyncctl list")
    return found


def _is_there(connection: Connection, lane: Lane, number: int) -> bool:
    table = schema.releases
    query = select(table.c.id).where(table.c.model_id == lane.model_id, table.c.number == number)
    return connection.scalars(query).one_or_none() is not None


def _named(connection: Connection, lane: Lane) -> int:
    """The number that a channel names; 0 for none."""
    channels, rows = schema.channels, schema.releases
    query = (
        select(rows.c.number)
        .join(channels, channels.c.release_id == rows.c.id)
        .where(channels.c.model_id == lane.model_id, channels.c.name == lane.channel)
    )
    return connection.scalars(query).one_or_none() or 0


def _highest(connection: Connection, lane: Lane) -> int:
    """The largest number that a channel has ever named."""
    table = schema.moves
    query = select(func.max(table.c.to_number)).where(
        table.c.model_id == lane.model_id, table.c.channel == lane.channel
    )
    return connection.scalars(query).one() or 0


def _of(connection: Connection, model: ModelName | None) -> Sequence[RuleRow]:
    table = schema.rules
    query = select(table).order_by(table.c.model, table.c.channel)
    if model is not None:
        query = query.where(table.c.model == str(model))
    return [_row(row) for row in connection.execute(query).mappings()]


def _values(rule: RuleRow) -> dict[str, object]:
    return {
        "model": str(rule.model),
        "channel": rule.channel,
        "candidates": rule.candidates,
        "condition": rule.condition,
        "dataset": rule.counted.dataset,
        "stage": rule.counted.stage,
        "variant": rule.counted.variant,
        "who": rule.who,
        "at": rule.at,
        "note": rule.note,
    }


def _row(row: RowMapping) -> RuleRow:
    counted = Counted(row["dataset"], row["stage"], row["variant"])
    return RuleRow(
        parse_model(row["model"]),
        row["channel"],
        row["candidates"],
        row["condition"],
        counted,
        row["who"],
        row["at"],
        row["note"],
    )
