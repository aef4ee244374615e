"""What the hub knows, as SQL tables: models, releases, channels, nodes, assignments, and where each chunk rests.

`Catalog.open(url)` is the way in. Everything here is synchronous; each method is one transaction, so a caller hops to a
thread once per call. Time is passed in as seconds since 1970 UTC.
"""

from cloud_hub.catalog.catalog import Catalog
from cloud_hub.catalog.rows import (
    AssignmentRow,
    ChannelRow,
    Followed,
    HistoryRows,
    ModelRow,
    MoveRow,
    NodeRow,
    ReleaseRow,
)

__all__ = [
    "AssignmentRow",
    "Catalog",
    "ChannelRow",
    "Followed",
    "HistoryRows",
    "ModelRow",
    "MoveRow",
    "NodeRow",
    "ReleaseRow",
]
