"""The only place where it is remembered which offers were carried out, so that none is carried out twice.

Whoever pushes and loses the answer offers again. Content is known by its digest, but a channel would be moved again,
over whatever others decided in between: over a rollback, say. The id of an offer tells a repeated one from a new wish.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from cloud_hub.catalog import schema
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName

KEPT = 400 * 86_400.0  # seconds: an outbox that was away for a year may still ask


def release_of(connection: Connection, who: str, id_: bytes, model: ModelName) -> int | None:
    """Row id of the release that this offer became; None for one that was not carried out.

    Raises BadInputError when the same peer gave the id to an offer of another model.
    """
    offers, releases, models = schema.offers, schema.releases, schema.models
    query = (
        select(offers.c.release_id, models.c.name)
        .join(releases, releases.c.id == offers.c.release_id)
        .join(models, models.c.id == releases.c.model_id)
        .where(offers.c.who == who, offers.c.id == id_)
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    if found.name != str(model):
        raise BadInputError(f"offer {id_.hex()} was of {found.name}, and can't be of {model} too")
    release_id: int = found.release_id
    return release_id


def remember(connection: Connection, who: str, id_: bytes, release_id: int, now: float) -> None:
    """It was carried out. Forgets what is too old to be asked for."""
    offers = schema.offers
    connection.execute(delete(offers).where(offers.c.at < now - KEPT))
    connection.execute(insert(offers).values(who=who, id=id_, release_id=release_id, at=now))
