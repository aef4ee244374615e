"""The only way into the catalogue: opens the database, brings its tables up to date, and holds its parts."""

from __future__ import annotations

from types import TracebackType

from cloud_hub.catalog import migrations
from cloud_hub.catalog.assignments import Assignments
from cloud_hub.catalog.chunks import Chunks
from cloud_hub.catalog.codings import Codings
from cloud_hub.catalog.consents import Consents
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import Decisions
from cloud_hub.catalog.derivations import Derivations
from cloud_hub.catalog.extracts import Extracts
from cloud_hub.catalog.limits import Limits
from cloud_hub.catalog.lineage import Lineage
from cloud_hub.catalog.manifests import Manifests
from cloud_hub.catalog.models import Models
from cloud_hub.catalog.nodes import Nodes
from cloud_hub.catalog.numbers import Numbers
from cloud_hub.catalog.packs import Packs
from cloud_hub.catalog.pins import Pins
from cloud_hub.catalog.removals import Removals
from cloud_hub.catalog.retentions import Retentions
from cloud_hub.catalog.retries import Retries
from cloud_hub.catalog.rights import Rights
from cloud_hub.catalog.rules import Rules
from cloud_hub.catalog.search import Search
from cloud_hub.catalog.traits import Traits
from modelsyncd.store.failpoints import Point, passing


class Catalog:
    """What the hub knows. Safe to use from any thread; every method blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.models = Models(database)
        self.manifests = Manifests(database)
        self.nodes = Nodes(database)
        self.assignments = Assignments(database)
        self.limits = Limits(database)
        self.pins = Pins(database)
        self.consents = Consents(database)
        self.retries = Retries(database)
        self.rights = Rights(database)
        self.numbers = Numbers(database)
        self.lineage = Lineage(database)
        self.rules = Rules(database)
        self.traits = Traits(database)
        self.extracts = Extracts(database)
        self.derivations = Derivations(database)
        self.search = Search(database)
        self.decisions = Decisions(database)
        self.retentions = Retentions(database)
        self.removals = Removals(database)
        self.chunks = Chunks(database)
        self.packs = Packs(database)
        self.codings = Codings(database)

    @classmethod
    def open(cls, url: str) -> Catalog:
        """Opens `sqlite:////absolute/path/catalog.db`, making it if it is not there.

        Raises NewerFormatError for a catalogue of a newer hub, BadInputError for a URL that can't be used, DiskError,
        LockedError, and DamageError for a file that is no database.
        """
        database = Database(url)
        try:
            migrations.migrate(database)
            passing(Point.CATALOGUE_OPEN)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def revision(self) -> int:
        """Grows with every change that can change what a node should hold."""
        with self._database.read() as connection:
            return migrations.revision(connection)

    def lift(self, now: float) -> None:
        """Makes the revision no smaller than the seconds since 1970: called when a hub starts.

        A catalogue restored from a backup would count again what nodes have heard already, and they ignore what is
        older than what they know. As long as there is less than one change a second, the time is ahead of any count.
        """
        with self._database.write() as connection:
            migrations.lift(connection, int(now))

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
