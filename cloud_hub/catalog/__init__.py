"""What the hub knows, as SQL tables: models, releases, channels, nodes, assignments, and where each chunk rests.

`Catalog.open(url)` is the way in. Everything here is synchronous; each method is one transaction, so a caller hops to a
thread once per call. Time is passed in as seconds since 1970 UTC.
"""

from cloud_hub.catalog.bounds import Bounds
from cloud_hub.catalog.catalog import Catalog
from cloud_hub.catalog.consents import ConsentRow
from cloud_hub.catalog.decisions import By, DecisionRow
from cloud_hub.catalog.numbers import NumberRow
from cloud_hub.catalog.pins import PinRow
from cloud_hub.catalog.rights import RightRow
from cloud_hub.catalog.rows import (
    AssignmentRow,
    ChannelRow,
    DesiredRows,
    Followed,
    HistoryPlace,
    HistoryRows,
    ModelRow,
    MoveRow,
    NodeRow,
    ReleaseRow,
)
from cloud_hub.catalog.search import FoundPage, FoundRow, Place, Sort
from cloud_hub.catalog.terms import LimitRow, Terms
from cloud_hub.catalog.traits import Stale
from cloud_hub.catalog.whom import Whom

__all__ = [
    "AssignmentRow",
    "Bounds",
    "By",
    "Catalog",
    "ChannelRow",
    "ConsentRow",
    "DecisionRow",
    "DesiredRows",
    "Followed",
    "FoundPage",
    "FoundRow",
    "HistoryPlace",
    "HistoryRows",
    "LimitRow",
    "ModelRow",
    "MoveRow",
    "NodeRow",
    "NumberRow",
    "PinRow",
    "Place",
    "ReleaseRow",
    "RightRow",
    "Sort",
    "Stale",
    "Terms",
    "Whom",
]
