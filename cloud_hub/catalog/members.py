"""The only place that says whether what a bundle was put together from is here as the bundle says."""

from __future__ import annotations

from sqlalchemy import Connection, select

from cloud_hub.catalog import schema
from modelsyncd.errors import BadInputError
from modelsyncd.release import Release


def check(connection: Connection, release: Release) -> None:
    """Raises BadInputError for a bundle of something that is not there, or is something else."""
    releases, models = schema.releases, schema.models
    query = select(releases.c.digest).join(models, models.c.id == releases.c.model_id)
    for member in release.members:
        this = query.where(models.c.name == str(member.model), releases.c.number == member.number)
        if connection.scalars(this).one_or_none() != member.release_digest:
            raise BadInputError(
                f"member {member.place} of {release.model} is not {member.model}:{member.number} as it is here",
                safe="nothing was changed; chunks that were pushed before are kept",
                hint=f"modelsyncctl show {member.model}:{member.number}",
            )
