"""The only list of the catalogue's tables, as they are at `SCHEMA_VERSION`; two files beside it have some.

A change of a table here needs a step in `migrations.py` with the next version number.

* `facts` never changes its shape: an old hub must be able to read the version in a newer database.
* `releases.bytes` and `signatures` are what was published, never re-serialised; `variants` and `manifests` repeat
  parts of it as columns, for look-ups.
* `models.last_number` is the largest number ever given, so that no number is given twice even when releases go.
* A channel's past is a stack: `channels.top` is the move that put it where it is, `moves.below` the move that it goes
  back to (see `moves.py`). Moves hold numbers and not rows of releases: the past stays when releases go.
* `assignments` name models, channels and nodes by name, because one may be made before the first release exists.
* `limits`, `pins` and `decisions` say whom they are for in two columns: a name in `node`, or "" and labels in
  `selector`, where "{}" is every node. A limit's empty `model` is all that the nodes fetch; a column of it that is null
  was not set there. `decisions` is only ever added to.
* `rights` say whom they are for in the same way; `models` is a pattern, `channels` a list of patterns.
* `retries` count how often a node was told to try again what a channel names; see `retries.py` for where they begin.
* `numbers` name releases by model and number, and are only ever added to; `key` is the sender's, and with `who` it
  keeps what was sent twice from counting twice. They are read by model and time, and by release and name.
* `offers` are pushes that were carried out, by who made them and the id that they gave; see `offers.py`.
* `rules` move a channel when numbers arrive; `candidates` is the channel whose release is judged, "" for the newest.
  Where `dataset` or `stage` is not empty only such numbers count, and only those about `variant` ("" for the release).
* `retentions` say what is kept of models whose name matches a pattern; see `retentions.py`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from cloud_hub.catalog.columns import ID, NAME, metadata
from cloud_hub.catalog.schema_found import derived, indexed, parents, traits
from cloud_hub.catalog.schema_stored import chunks, coding_packs, codings, packs

__all__ = [
    "SCHEMA_VERSION",
    "assignments",
    "channels",
    "chunks",
    "coding_packs",
    "codings",
    "consents",
    "decisions",
    "derived",
    "facts",
    "indexed",
    "invites",
    "limits",
    "manifests",
    "metadata",
    "models",
    "moves",
    "nodes",
    "numbers",
    "offers",
    "packs",
    "parents",
    "pins",
    "releases",
    "retentions",
    "retries",
    "rights",
    "rules",
    "signatures",
    "traits",
    "variants",
]

SCHEMA_VERSION = 6


facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("last_number", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
)

manifests = Table(
    "manifests",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("content_size", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
    Column("chunk_digests", LargeBinary, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("id", ID, primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("bytes", LargeBinary, nullable=False),
    Column("committed_at", Double, nullable=False),
    Column("who", String, nullable=False),
    UniqueConstraint("model_id", "number"),
)

signatures = Table(
    "signatures",
    metadata,
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("algorithm", String, nullable=False),
    Column("key_id", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
)

variants = Table(
    "variants",
    metadata,
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("selector", String, nullable=False),
    Column("manifest", ForeignKey("manifests.digest"), nullable=False),
    Index("variants_by_manifest", "manifest"),
)

moves = Table(
    "moves",
    metadata,
    Column("id", ID, primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("channel", NAME, nullable=False),
    Column("from_number", BigInteger, nullable=False),
    Column("to_number", BigInteger, nullable=False),
    Column("below", ForeignKey("moves.id")),
    Column("kind", String, nullable=False),
    Column("who", String, nullable=False),
    Column("note", String, nullable=False),
    Column("at", Double, nullable=False),
    Index("moves_by_model", "model_id", "channel"),
)

channels = Table(
    "channels",
    metadata,
    Column("model_id", ForeignKey("models.id"), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("release_id", ForeignKey("releases.id"), nullable=False),
    Column("top", ForeignKey("moves.id"), nullable=False),
    Column("moved_at", Double, nullable=False),
    Index("channels_by_release", "release_id"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("labels", String, nullable=False),
    Column("key", LargeBinary),
    Column("enrolled_at", Double, nullable=False, default=0.0),
    Column("last_seen", Double, nullable=False, default=0.0),
    Column("software", String, nullable=False, default=""),
    Column("report", LargeBinary, nullable=False, default=b""),
    Column("reported_at", Double, nullable=False, default=0.0),
    Column("facts", String, nullable=False, default="{}", server_default="{}"),
)

invites = Table(
    "invites",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("void", String, nullable=False, default=""),
    Column("key", LargeBinary),
    Column("used_at", Double),
    Index("invites_by_name", "name"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("model", NAME, primary_key=True),
    Column("channel", NAME, primary_key=True),
    Column("node", NAME, primary_key=True),
    Column("selector", NAME, primary_key=True),
    Column("priority", Integer, nullable=False),
    Index("assignments_by_node", "node"),
)

limits = Table(
    "limits",
    metadata,
    Column("model", NAME, primary_key=True),
    Column("channel", NAME, primary_key=True),
    Column("node", NAME, primary_key=True),
    Column("selector", NAME, primary_key=True),
    Column("rate", BigInteger),
    Column("windows", String),
    Column("month_bytes", BigInteger),
    Column("paused", Integer),
    Column("background", Integer),
    Column("quota", BigInteger),
    Column("who", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", String, nullable=False),
    Index("limits_by_node", "node"),
)

pins = Table(
    "pins",
    metadata,
    Column("model", NAME, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("node", NAME, primary_key=True),
    Column("selector", NAME, primary_key=True),
    Column("who", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", String, nullable=False),
    Index("pins_by_node", "node"),
)

consents = Table(
    "consents",
    metadata,
    Column("node", NAME, primary_key=True),
    Column("model", NAME, primary_key=True),
    Column("manifest", LargeBinary(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", String, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("node", NAME, nullable=False),
    Column("selector", NAME, nullable=False),
    Column("ref", String, nullable=False),
    Column("what", String, nullable=False),
    Column("note", String, nullable=False),
)

rights = Table(
    "rights",
    metadata,
    Column("models", NAME, primary_key=True),
    Column("node", NAME, primary_key=True),
    Column("selector", NAME, primary_key=True),
    Column("channels", String, nullable=False),
    Column("who", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", String, nullable=False),
    Index("rights_by_node", "node"),
)

retries = Table(
    "retries",
    metadata,
    Column("node", NAME, primary_key=True),
    Column("model", NAME, primary_key=True),
    Column("channel", NAME, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

numbers = Table(
    "numbers",
    metadata,
    Column("id", ID, primary_key=True),
    Column("model", NAME, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("name", NAME, nullable=False),
    Column("value", Double, nullable=False),
    Column("dataset", NAME, nullable=False),
    Column("stage", NAME, nullable=False),
    Column("at", Double, nullable=False),
    Column("who", NAME, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("variant", NAME, nullable=False, default="", server_default=""),
    UniqueConstraint("who", "key"),
    Index("numbers_by_time", "model", "at"),
    Index("numbers_by_release", "model", "number", "name", "variant", "at"),
)

offers = Table(
    "offers",
    metadata,
    Column("who", NAME, primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("at", Double, nullable=False),
    Index("offers_by_time", "at"),
    Index("offers_by_release", "release_id"),
)

rules = Table(
    "rules",
    metadata,
    Column("model", NAME, primary_key=True),
    Column("channel", NAME, primary_key=True),
    Column("candidates", NAME, nullable=False),
    Column("condition", String, nullable=False),
    Column("dataset", NAME, nullable=False),
    Column("stage", NAME, nullable=False),
    Column("variant", NAME, nullable=False),
    Column("who", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", String, nullable=False),
)

retentions = Table(
    "retentions",
    metadata,
    Column("models", NAME, primary_key=True),
    Column("newest", BigInteger),
    Column("seconds", Double),
    Column("who", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("note", String, nullable=False),
)
