"""The only place where it is kept what steps have made of which versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName, parse_model
from modelsyncd.release import Release


@dataclass(frozen=True, slots=True)
class DerivedRow:
    """A variant that a step has made; `channels` name its release now, by name."""

    model: ModelName
    number: int
    variant: str
    channels: tuple[str, ...]


class Derivations:
    """Derivations. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, source: Digest, step: Digest, limit: int = 100) -> Sequence[DerivedRow]:
        """At most `limit` variants that this step has made of the version with this manifest, the newest first."""
        derived, releases, models, channels = schema.derived, schema.releases, schema.models, schema.channels
        query = (
            select(derived.c.release_id, models.c.name, releases.c.number, derived.c.variant)
            .join(releases, releases.c.id == derived.c.release_id)
            .join(models, models.c.id == releases.c.model_id)
            .where(derived.c.source == source, derived.c.step == step)
            .order_by(derived.c.release_id.desc(), derived.c.variant)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            named: dict[int, list[str]] = {row.release_id: [] for row in rows}
            told = select(channels.c.release_id, channels.c.name).where(channels.c.release_id.in_(named))
            for release_id, channel in connection.execute(told.order_by(channels.c.name)):
                named[release_id].append(channel)
        return [
            DerivedRow(parse_model(row.name), row.number, row.variant, tuple(named[row.release_id])) for row in rows
        ]


def write(connection: Connection, release_id: int, release: Release) -> None:
    """Makes what steps have made findable; what was written of the release before is forgotten."""
    table = schema.derived
    connection.execute(delete(table).where(table.c.release_id == release_id))
    rows = [
        {
            "source": variant.derivation.source,
            "step": variant.derivation.step,
            "release_id": release_id,
            "variant": variant.name,
        }
        for variant in release.variants
        if variant.derivation is not None
    ]
    if rows:
        connection.execute(insert(table), rows)
