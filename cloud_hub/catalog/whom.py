"""The only place that says whom a limit or a pin is for: a node by name, nodes by their labels, or every node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, or_, select

from cloud_hub.catalog import facts, labels, schema
from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.names import nearest
from modelsyncd.session.frames import Facts

T = TypeVar("T")

_NOBODY = ""  # in the column `node`: no node has this name


@dataclass(frozen=True, slots=True)
class Whom:
    """One node, every node with all of these labels, or (with neither) every node. Raises BadInputError for both."""

    node: str | None = None
    selector: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.node is not None and self.selector:
            raise BadInputError("a limit is for one node or for all nodes with some labels, not both")

    @property
    def weight(self) -> int:
        """Larger for whom it says more precisely: a name before any labels, many labels before few."""
        return 1_000_000 if self.node is not None else len(self.selector)

    def reaches(self, node: str, known: Mapping[str, str]) -> bool:
        """Whether it is for this node, which has these labels."""
        return self.node == node if self.node is not None else labels.fits(self.selector, known)

    def __str__(self) -> str:
        if self.node is not None:
            return f"node {self.node}"
        shown = " ".join(f"{key}={value}" for key, value in sorted(self.selector.items()))
        return f"every node with {shown}" if shown else "every node"


class Reaching(Generic[T]):
    """Rows that are each for somebody, by the nodes that they reach; made once, for looking up many nodes."""

    def __init__(self, rows: Iterable[tuple[Whom, T]]) -> None:
        self._named: dict[str, list[tuple[int, T]]] = {}
        self._by_labels: list[tuple[int, Whom, T]] = []
        for place, (whom, row) in enumerate(rows):
            if whom.node is not None:
                self._named.setdefault(whom.node, []).append((place, row))
            else:
                self._by_labels.append((place, whom, row))

    def node(self, name: str, known: Mapping[str, str]) -> list[T]:
        """Those that reach a node with these labels, in their order."""
        found = [(place, row) for place, whom, row in self._by_labels if whom.reaches(name, known)]
        found += self._named.get(name, [])
        return [row for _, row in sorted(found, key=lambda each: each[0])]


def columns(whom: Whom) -> dict[str, str]:
    """As the columns `node` and `selector`."""
    return {"node": _NOBODY if whom.node is None else whom.node, "selector": labels.write(whom.selector)}


def whom(row: RowMapping) -> Whom:
    """From the columns `node` and `selector`."""
    return Whom(row["node"] or None, labels.read(row["selector"]))


def is_for(table: Table, wanted: Whom) -> ColumnElement[bool]:
    """Rows that are for exactly these."""
    return and_(*(table.c[name] == value for name, value in columns(wanted).items()))


def may_reach(table: Table, node: str) -> ColumnElement[bool]:
    """Rows for the node by name, and all those by labels, which must be held against the node's."""
    return or_(table.c.node == node, table.c.node == _NOBODY)


def check_there(connection: Connection, wanted: Whom) -> None:
    """Raises NotFoundError when it names a node that is not there."""
    if wanted.node is not None:
        node_labels(connection, wanted.node)


def node_labels(connection: Connection, node: str) -> dict[str, str]:
    """The labels of a node. Raises NotFoundError."""
    table = schema.nodes
    found = connection.scalars(select(table.c.labels).where(table.c.name == node)).one_or_none()
    if found is None:
        close = nearest(node, connection.scalars(select(table.c.name)).all())
        hint = "" if close else f"to let it in: modelsyncctl node invite {node}"
        raise NotFoundError(f"there is no node {node}", hint=hint, nearest=close)
    return labels.read(found)


def all_labels(connection: Connection) -> dict[str, dict[str, str]]:
    """The labels of every node, by name."""
    table = schema.nodes
    query = select(table.c.name, table.c.labels).order_by(table.c.name)
    return {name: labels.read(text) for name, text in connection.execute(query)}


def node_facts(connection: Connection, node: str) -> Facts:
    """What a node said of itself; nothing for a node that is not there."""
    found = connection.scalars(select(schema.nodes.c.facts).where(schema.nodes.c.name == node)).one_or_none()
    return facts.read(found or facts.NONE)


def all_facts(connection: Connection) -> dict[str, Facts]:
    """What every node said of itself, by name; equal ones are one object."""
    rows = connection.execute(select(schema.nodes.c.name, schema.nodes.c.facts)).all()
    read = {text: facts.read(text) for text in {row.facts for row in rows}}
    return {row.name: read[row.facts] for row in rows}


def reached(wanted: Whom, known: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    """Those of the nodes, by name with their labels, that it is for."""
    there: Iterable[str] = known if wanted.node is None else {wanted.node} & known.keys()
    return [name for name in there if wanted.reaches(name, known[name])]
