"""The only place where it is said which nodes follow which channels, and hence what a node may read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select, update

from cloud_hub.catalog import bounds, labels, releases, schema
from cloud_hub.catalog.database import Database, batches
from cloud_hub.catalog.migrations import bump, revision
from cloud_hub.catalog.rows import AssignmentRow, DesiredRows, Followed, ReleaseRow
from cloud_hub.catalog.whom import Reaching, Whom, all_facts, all_labels, node_facts, node_labels
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.fitting import best_variant
from modelsyncd.names import ModelName, parse_model

_BY_SELECTOR = ""  # in the column `node`: no node has this name


class Assignments:
    """Assignments; a model, channel or release need not be there yet. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def assign(
        self, model: ModelName, channel: str, node: str | None, selector: Mapping[str, str], priority: int = 0
    ) -> tuple[AssignmentRow, bool]:
        """Makes nodes follow a channel; the assignment, and whether it is new or has a new priority.

        Raises NotFoundError for a node that is not there, BadInputError for neither or both of node and selector.
        """
        row = _wanted(model, channel, node, selector, priority)
        table = schema.assignments
        with self._database.write() as connection:
            if node is not None:
                node_labels(connection, node)  # raises when it is not there
            before = connection.scalars(select(table.c.priority).where(_this(row))).one_or_none()
            if before == priority:
                return row, False
            if before is None:
                connection.execute(insert(table).values(**_key(row), priority=priority))
            else:
                connection.execute(update(table).where(_this(row)).values(priority=priority))
            bump(connection)
        return row, True

    def unassign(self, model: ModelName, channel: str, node: str | None, selector: Mapping[str, str]) -> AssignmentRow:
        """Ends an assignment; as it was. Raises NotFoundError, BadInputError."""
        row = _wanted(model, channel, node, selector, 0)
        table = schema.assignments
        with self._database.write() as connection:
            there = connection.execute(select(table).where(_this(row))).mappings().one_or_none()
            if there is None:
                raise _no_assignment(connection, row)
            connection.execute(delete(table).where(_this(row)))
            bump(connection)
        return _row(there)

    def list(self, node: str | None = None) -> Sequence[AssignmentRow]:
        """All assignments, or those that reach a node, by model, channel, then node. Raises NotFoundError."""
        with self._database.read() as connection:
            return _rows(connection) if node is None else _reaching(connection, node)

    def nodes_of(self, assignment: AssignmentRow) -> Sequence[str]:
        """Names of the nodes that it reaches now, invited ones too."""
        table = schema.nodes
        query = select(table.c.name, table.c.labels).order_by(table.c.name)
        if assignment.node is not None:
            query = query.where(table.c.name == assignment.node)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [name for name, text in rows if labels.fits(assignment.selector, labels.read(text))]

    def for_node(self, name: str) -> Sequence[Followed]:
        """What the node follows now, each channel once, by model and channel. Raises NotFoundError."""
        with self._database.read() as connection:
            return _followed(connection, name)

    def desired(self, name: str) -> DesiredRows:
        """All that a node's Desired is made of, at exactly one revision. Raises NotFoundError."""
        with self._database.read() as connection:
            known = node_labels(connection, name)
            return DesiredRows(
                revision(connection),
                known,
                _followed(connection, name),
                bounds.of(connection, name, known),
                node_facts(connection, name),
            )

    def desired_by_node(self) -> dict[str, DesiredRows]:
        """The same for every node, by name; much faster than one after the other."""
        with self._database.read() as connection:
            known = all_labels(connection)
            rows = _rows(connection)
            named = _named(connection, {row.model for row in rows})
            following = Reaching((Whom(row.node, row.selector), row) for row in rows)
            held = bounds.of_all(connection, known)
            said = all_facts(connection)
            now = revision(connection)
        return {
            node: DesiredRows(now, has, _together(following.node(node, has), named), held[node], said[node])
            for node, has in known.items()
        }

    def readable(self, name: str) -> frozenset[Digest]:
        """Manifests of the variants that are chosen for the node, of what its channels name now.

        None for a node that is not there.
        """
        with self._database.read() as connection:
            there = connection.scalars(select(schema.nodes.c.name).where(schema.nodes.c.name == name)).one_or_none()
            followed = _followed(connection, name) if there else ()
            known = node_labels(connection, name) if there else {}
            said = node_facts(connection, name)
        found = (best_variant(each.release.variants, known, said) for each in followed if each.release is not None)
        return frozenset(variant.manifest.digest for variant in found if variant is not None)

    def once_named(self, name: str, among: Collection[Digest]) -> frozenset[Digest]:
        """Those of some manifests whose releases were ever named by a channel that the node follows now.

        None for a node that is not there.
        """
        with self._database.read() as connection:
            known = connection.scalars(select(schema.nodes.c.name).where(schema.nodes.c.name == name)).one_or_none()
            lanes = {(str(row.model), row.channel) for row in _reaching(connection, name)} if known else set()
            return frozenset(_moved_to(connection, lanes, among)) if lanes else frozenset()


def _moved_to(
    connection: Connection, lanes: Collection[tuple[str, str]], among: Collection[Digest]
) -> Iterator[Digest]:
    """Those of the manifests to whose releases a channel of these (model, channel) was ever moved."""
    models, moves, rows, variants = schema.models, schema.moves, schema.releases, schema.variants
    query = (
        select(models.c.name, moves.c.channel, variants.c.manifest)
        .distinct()
        .join(moves, moves.c.model_id == models.c.id)
        .join(rows, and_(rows.c.model_id == models.c.id, rows.c.number == moves.c.to_number))
        .join(variants, variants.c.release_id == rows.c.id)
    )
    for batch in batches(list(among)):
        for model, channel, manifest in connection.execute(query.where(variants.c.manifest.in_(batch))):
            if (model, channel) in lanes:
                yield Digest(manifest)


def _wanted(
    model: ModelName, channel: str, node: str | None, selector: Mapping[str, str], priority: int
) -> AssignmentRow:
    if (node is None) == (not selector):
        raise BadInputError(
            "an assignment is for one node or for all nodes with some labels",
            hint=f"modelsyncctl assign {model}@{channel} --node NAME, or --selector KEY=VALUE",
        )
    return AssignmentRow(model, channel, node, dict(selector), priority)


def _key(row: AssignmentRow) -> dict[str, str]:
    node = _BY_SELECTOR if row.node is None else row.node
    return {
        "model": str(row.model),
        "channel": row.channel,
        "node": node,
        "selector": labels.write(row.selector),
    }


def _this(row: AssignmentRow) -> ColumnElement[bool]:
    return and_(*(schema.assignments.c[name] == value for name, value in _key(row).items()))


def _row(row: RowMapping) -> AssignmentRow:
    return AssignmentRow(
        parse_model(row["model"]),
        row["channel"],
        row["node"] or None,
        labels.read(row["selector"]),
        row["priority"],
    )


def _rows(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[AssignmentRow]:
    table = schema.assignments
    query = select(table).where(*conditions)
    query = query.order_by(table.c.model, table.c.channel, table.c.node, table.c.selector)
    return [_row(row) for row in connection.execute(query).mappings()]


def _reaching(connection: Connection, node: str) -> Sequence[AssignmentRow]:
    known = node_labels(connection, node)
    by_name_or_selector = schema.assignments.c.node.in_([node, _BY_SELECTOR])
    return [row for row in _rows(connection, by_name_or_selector) if labels.fits(row.selector, known)]


def _followed(connection: Connection, node: str) -> Sequence[Followed]:
    rows = _reaching(connection, node)
    return _together(rows, _named(connection, {row.model for row in rows}))


def _together(rows: Iterable[AssignmentRow], named: Mapping[tuple[ModelName, str], ReleaseRow]) -> Sequence[Followed]:
    """Each channel once, with the highest priority asked for."""
    priorities: dict[tuple[ModelName, str], int] = {}
    for row in rows:
        key = row.model, row.channel
        priorities[key] = max(row.priority, priorities.get(key, row.priority))
    return [
        Followed(model, channel, priority, named.get((model, channel)))
        for (model, channel), priority in sorted(priorities.items())
    ]


def _named(connection: Connection, wanted: Iterable[ModelName]) -> dict[tuple[ModelName, str], ReleaseRow]:
    """By model and channel: the release that it names."""
    models, channels = schema.models, schema.channels
    ids: dict[tuple[str, str], int] = {}
    for batch in batches([str(model) for model in wanted]):
        query = (
            select(models.c.name, channels.c.name, channels.c.release_id)
            .join(channels, channels.c.model_id == models.c.id)
            .where(models.c.name.in_(batch))
        )
        ids.update({(model, channel): release for model, channel, release in connection.execute(query)})
    loaded = releases.load(connection, ids.values())
    return {(loaded[release].model, channel): loaded[release] for (_, channel), release in ids.items()}


def _no_assignment(connection: Connection, row: AssignmentRow) -> NotFoundError:
    same = _rows(connection, schema.assignments.c.model == str(row.model))
    there = [f"{each.model}@{each.channel} to {each.node or _shown(each.selector)}" for each in same[:3]]
    hint = f"there is {', '.join(there)}" if there else f"nothing follows {row.model}"
    return NotFoundError(
        f"{row.model}@{row.channel} is not assigned to {row.node or _shown(row.selector)}",
        safe="nothing was changed",
        hint=hint,
    )


def _shown(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
