"""`modelsync-hub`: the only place where the hub's parts are put together, started and stopped."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.catalog_api import CatalogApi
from cloud_hub.codings import Codings
from cloud_hub.collector import GRACE, Collector
from cloud_hub.derivations_api import DerivationsApi
from cloud_hub.doctor_api import DoctorApi
from cloud_hub.efforts import EFFORTS
from cloud_hub.enrol_api import EnrolService
from cloud_hub.events import Bus
from cloud_hub.extract_api import ExtractApi
from cloud_hub.gc import Place, Wish, gc
from cloud_hub.herald import Herald
from cloud_hub.imports_api import ImportsApi
from cloud_hub.indexing import Indexer
from cloud_hub.limits_api import LimitsApi
from cloud_hub.lineage_api import LineageApi
from cloud_hub.presence import Presence
from cloud_hub.promotion import Promotion
from cloud_hub.records_api import RecordsApi
from cloud_hub.retention_api import RetentionApi
from cloud_hub.rights_api import RightsApi
from cloud_hub.rules_api import RulesApi
from cloud_hub.scrub import Scrub
from cloud_hub.search_api import SearchApi
from cloud_hub.stores import CODINGS_BYTES, Stores, open_stores
from cloud_hub.sync_api import SOFTWARE, SyncApi
from modelsyncd.ages import parse_age
from modelsyncd.daemon import config, lifetime, loops
from modelsyncd.daemon.health import Health
from modelsyncd.daemon.lifetime import Lifetime
from modelsyncd.daemon.log import Log, Style, setup
from modelsyncd.errors import BadInputError, ModelsyncError, RoadError
from modelsyncd.link import address, congestion
from modelsyncd.link.congestion import Congestion
from modelsyncd.link.malloc import raise_thresholds
from modelsyncd.link.reflection import add_reflection
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import serve_sessions
from modelsyncd.names import ModelName
from modelsyncd.sizes import parse_size
from modelsyncd.store import failpoints
from modelsyncd.store.durable import write_file
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.trust import context
from modelsyncd.wire.v1.catalog_pb2_grpc import add_CatalogServiceServicer_to_server
from modelsyncd.wire.v1.derivations_pb2_grpc import add_DerivationServiceServicer_to_server
from modelsyncd.wire.v1.doctor_pb2_grpc import add_DoctorServiceServicer_to_server
from modelsyncd.wire.v1.extract_pb2_grpc import add_ExtractServiceServicer_to_server
from modelsyncd.wire.v1.imports_pb2_grpc import add_ImportServiceServicer_to_server
from modelsyncd.wire.v1.limits_pb2_grpc import add_LimitServiceServicer_to_server
from modelsyncd.wire.v1.lineage_pb2_grpc import add_LineageServiceServicer_to_server
from modelsyncd.wire.v1.records_pb2_grpc import add_RecordServiceServicer_to_server
from modelsyncd.wire.v1.retention_pb2_grpc import add_RetentionServiceServicer_to_server
from modelsyncd.wire.v1.rights_pb2_grpc import add_RightServiceServicer_to_server
from modelsyncd.wire.v1.rules_pb2_grpc import add_RuleServiceServicer_to_server
from modelsyncd.wire.v1.search_pb2_grpc import add_SearchServiceServicer_to_server
from modelsyncd.wire.v1.sync_pb2_grpc import add_EnrolServiceServicer_to_server

PROGRAM = "modelsync-hub"
ADMIN = "admin"
CONTEXT_FILE = "admin.toml"
TIDY = 5.0  # seconds between two looks at codings that should be sealed
FOLLOW = 2.0  # seconds between two looks for changes that another process made in the catalogue
_SPOKEN = (
    "Sync",
    "Enrol",
    "Catalog",
    "Limit",
    "Right",
    "Record",
    "Search",
    "Derivation",
    "Extract",
    "Import",
    "Lineage",
    "Rule",
    "Doctor",
)
SERVICES = tuple(f"modelsyncd.wire.v1.{name}Service" for name in _SPOKEN)
_VERBAL = ("verb", "dry_run", "grace", "json")  # flags that are no settings
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to call where everybody is let in by certificate


@dataclass(frozen=True, slots=True)
class Settings:
    """What the settings file and the flags may say; docs/operations.md explains each."""

    data: Path
    listen: str = "0.0.0.0:7443"
    name: str = ""
    """Host by which others reach this hub, for admin.toml; empty for the one that it listens at."""
    database: str = ""
    """URL of the catalogue; empty for catalog.db in the data folder."""
    blobs: str = ""
    """URL of the place for packs; empty for packs/ in the data folder."""
    coding: str = "auto"
    """How hard chunks are coded against what a peer holds: auto, smallest, fast or plain."""
    codings_bytes: int = CODINGS_BYTES
    """Bytes of codings that are kept for the next node; 0 for none."""
    congestion: str = congestion.AUTO
    """How TCP answers loss on what the hub sends: "auto", "system", or a name of the kernel's."""
    scrub_rate: int | str | None = None
    """Bytes a second of packs that are read back at rest, or a size with its unit; 0 for none."""
    imports: tuple[str, ...] = ()
    """Beginnings of URLs from which admins may have models fetched; none by default."""
    log_format: str = Style.AUTO
    log_level: str = "info"

    def __post_init__(self) -> None:
        address.split(self.listen)
        congestion.check(self.congestion)
        _one_of("coding", self.coding, list(EFFORTS))
        if self.codings_bytes < 0:
            raise BadInputError("codings_bytes can't be less than nothing", hint="0 keeps no codings")
        if (self.scrub_bytes or 0) < 0:
            raise BadInputError("scrub_rate can't be less than nothing", hint="0 reads nothing back")
        _one_of("log_format", self.log_format, [str(style) for style in Style])
        _one_of("log_level", self.log_level, ["debug", "info", "warning", "error"])

    @property
    def packs(self) -> Path | None:
        """The folder of the packs; None when they are in an object store."""
        if not self.blobs:
            return self.data.absolute() / "packs"
        scheme, _, path = self.blobs.partition("://")
        return Path(path) if scheme == "file" else None

    @property
    def scrub_bytes(self) -> int | None:
        """Bytes a second; none unasked where each read is billed and the store looks after its bytes itself."""
        if self.scrub_rate is None:
            return None if self.packs is not None else 0
        return parse_size(self.scrub_rate) if isinstance(self.scrub_rate, str) else self.scrub_rate


def start(arguments: Sequence[str]) -> int:
    """Runs the hub until it is told to stop; its exit code is that of the error that ended it (docs/exit-codes.md)."""
    try:
        flags = _parser().parse_args(arguments)
        settings = _settings(flags)
        failpoints.arm_from(os.environ)
        if flags.verb == "gc":
            setup("warning", Style(settings.log_format))
            return _gc(settings, flags)
    except ModelsyncError as error:
        sys.stderr.write(lifetime.explain(PROGRAM, error))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM}: stopped; what went by then was needed by nobody, gc again takes the rest\n")
        return lifetime.INTERRUPTED
    setup(settings.log_level, Style(settings.log_format))
    raise_thresholds()
    loops.offer()
    return lifetime.run(PROGRAM, lambda life: run(settings, life))


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings file and the flags as one. Raises BadInputError, NotFoundError, DiskError."""
    return _settings(_parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description="Keeps a fleet's models, and who should have which.")
    parser.add_argument("--version", action="version", version=SOFTWARE)
    verbs = (
        "run: serve until told to stop; gc: while it is stopped, remove what no rule keeps, and free what need not rest"
    )
    parser.add_argument("verb", nargs="?", choices=["run", "gc"], default="run", help=verbs)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder for everything that this hub keeps")
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: 0.0.0.0:7443")
    parser.add_argument("--name", metavar="HOST", help="host by which others reach this hub, for admin.toml")
    parser.add_argument("--database", metavar="URL", help="default: catalog.db in the data folder")
    parser.add_argument("--blobs", metavar="URL", help="default: packs/ in the data folder")
    parser.add_argument("--coding", choices=list(EFFORTS), help="default: auto, as the link to each peer is")
    parser.add_argument("--codings-bytes", type=int, metavar="BYTES", help="codings to keep; default: 10 GiB")
    parser.add_argument("--congestion", metavar="NAME", help="how TCP answers loss: auto (default), system, or a name")
    parser.add_argument("--scrub-rate", metavar="SIZE", help="bytes a second that are read back at rest; 0 for none")
    parser.add_argument("--imports", action="append", metavar="URL", help="where models may come from; repeatable")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML, named like these flags")
    parser.add_argument("--log-format", choices=list(Style), help="default: auto, for the journal or for people")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="default: info")
    gc_only = parser.add_argument_group("of gc")
    gc_only.add_argument("--dry-run", action="store_true", help="change nothing; say what would go")
    gc_only.add_argument("--grace", metavar="AGE", help="leave alone what came in this time; default: 1d, 0m for none")
    gc_only.add_argument("--json", action="store_true", help="one object instead of lines for people")
    return parser


def _settings(parsed: argparse.Namespace) -> Settings:
    flags = {name: value for name, value in vars(parsed).items() if name not in _VERBAL}
    file = flags.pop("config")
    if file is None and flags["data"] is None:
        raise BadInputError(
            "it is not said where this hub keeps things",
            hint=f"{PROGRAM} run --data DIR; a new folder becomes a new hub",
        )
    return config.load(Settings, file, flags)


def _gc(settings: Settings, flags: argparse.Namespace) -> int:
    wish = Wish(dry=flags.dry_run, grace=GRACE if flags.grace is None else parse_age(flags.grace), as_json=flags.json)
    place = Place(settings.data, settings.database, settings.blobs, settings.codings_bytes)
    return gc(place, wish, sys.stdout.write)


async def run(settings: Settings, life: Lifetime) -> None:
    """Serves until `life.stopping`. Raises ModelsyncError for what keeps the hub from starting."""
    log = Log()
    data = settings.data.absolute()
    stores = await asyncio.to_thread(
        open_stores, data, settings.database, settings.blobs, time.time(), codings_bytes=settings.codings_bytes
    )
    try:
        if stores.recovered:
            log.info("packs.recovered", chunks=stores.recovered)
        async with serve(stores, settings, log) as reached:
            _write_context(stores, data, reached)
            log.info("hub.serving", address=reached, data=data)
            sys.stdout.write(_greeting(data, reached))
            sys.stdout.flush()
            life.ready(f"serving at {reached}")
            await life.stopping.wait()
            log.info("hub.stopping")
    finally:
        await asyncio.to_thread(stores.close)


@asynccontextmanager
async def serve(stores: Stores, settings: Settings, log: Log) -> AsyncIterator[str]:
    """Serves while the block runs; the address by which others on this machine, or by its name, reach the hub.

    At the end every session is told, calls get a moment to finish, and what they had made durable stays.
    """
    bus, presence = Bus(), Presence()
    herald = Herald(bus)
    answers = Congestion(settings.congestion)
    sessions = SyncApi(stores, presence, bus, herald, effort=EFFORTS[settings.coding], congestion=answers, log=log)
    promotion = Promotion(stores.catalog, presence, bus, log=log)
    loop = asyncio.get_running_loop()

    def measured(model: ModelName) -> None:
        promotion.measured(model)
        herald.changed([model])

    def removed(models: Collection[ModelName]) -> None:
        loop.call_soon_threadsafe(herald.changed, models)

    health = Health(SERVICES)
    server = make_server()
    serve_sessions(server, sessions.converse, lane=sessions.lane)
    add_EnrolServiceServicer_to_server(EnrolService(stores.authority, stores.catalog.nodes), server)
    add_CatalogServiceServicer_to_server(CatalogApi(stores, presence, bus, effort=EFFORTS[settings.coding]), server)
    add_LimitServiceServicer_to_server(LimitsApi(stores.catalog, presence, tell=bus.publish), server)
    add_RightServiceServicer_to_server(RightsApi(stores.catalog, presence), server)
    add_RecordServiceServicer_to_server(RecordsApi(stores.catalog, measured=measured), server)
    add_DoctorServiceServicer_to_server(DoctorApi(settings.data, presence, answers, software=SOFTWARE), server)
    indexer = Indexer(stores.catalog, stores.contents, changed=herald.changed)
    add_SearchServiceServicer_to_server(SearchApi(stores.catalog, indexer), server)
    add_LineageServiceServicer_to_server(LineageApi(stores.catalog), server)
    add_RuleServiceServicer_to_server(RulesApi(stores.catalog, promotion), server)
    add_DerivationServiceServicer_to_server(DerivationsApi(stores.catalog), server)
    tell = sessions.told
    imports = ImportsApi(stores, indexer, settings.data.absolute(), settings.imports, tell=tell)
    add_ImportServiceServicer_to_server(imports, server)
    await imports.tidy()
    collector = Collector(stores.catalog, stores.stock, stores.packs, removed=removed)
    add_RetentionServiceServicer_to_server(RetentionApi(stores.catalog, collector), server)
    add_ExtractServiceServicer_to_server(ExtractApi(stores.catalog, asked=herald.asked), server)
    health.attach(server)
    add_reflection(server, SERVICES)
    bound = bind_tls(server, settings.listen, stores.authority.issue_hub(time.time()))
    _answer_loss(answers, bound, log)
    async with serving(server), asyncio.TaskGroup() as group:
        chores = [
            group.create_task(_follow(stores.catalog, presence, log)),
            group.create_task(_tidy(stores.codings)),
            group.create_task(promotion.run()),
            group.create_task(herald.run()),
            group.create_task(indexer.run()),
            group.create_task(_scrub(stores, settings).run()),
        ]
        health.serving()
        try:
            yield _reached(bound, settings.name)
        finally:
            for chore in chores:
                chore.cancel()
            health.failing()
            bus.close()
            sessions.stop(
                RoadError("the hub stops", safe="every chunk that arrived is kept", hint="it may be back soon")
            )


def _answer_loss(chosen: Congestion, bound: str, log: Log) -> None:
    """For every connection that will be accepted; says once what it is, and what was wished and can't be had."""
    chosen.listening(address.split(bound)[1])
    if chosen.problem:
        log.warning("congestion.unset", why=chosen.problem, stays=chosen.name)
    else:
        log.info("congestion.chosen", name=chosen.name)


def _scrub(stores: Stores, settings: Settings) -> Scrub:
    def size() -> int:
        return sum(blob.size for blob in stores.packs.list())

    data, rate = settings.data.absolute(), settings.scrub_bytes
    return Scrub(stores.catalog, stores.stock, data, rate=rate, packs=settings.packs, size=size)


async def _tidy(codings: Codings) -> None:
    """Lets other hub processes, and this one after a crash, find what was coded."""
    while True:
        await asyncio.sleep(TIDY)
        await asyncio.to_thread(codings.tidy)


async def _follow(catalog: Catalog, presence: Presence, log: Log) -> None:
    """Notices what another process changed in the catalogue, and whatever this one forgot to say."""
    known = -1
    while True:
        try:
            revision = await asyncio.to_thread(catalog.revision)
        except ModelsyncError as error:
            log.failure("catalog.unread", error)
        else:
            if revision != known:
                presence.stir()
            known = revision
        await asyncio.sleep(FOLLOW)


def _write_context(stores: Stores, data: Path, reached: str) -> None:
    identity = stores.authority.issue_admin(ADMIN, time.time())
    passing(Point.CONTEXT_WAITS)
    context.write(data / CONTEXT_FILE, context.Context(reached, ADMIN, identity), write_file)


def _reached(bound: str, name: str) -> str:
    host, port = address.split(bound)
    return address.join(name or _ANYWHERE.get(host, host), port)


def _greeting(data: Path, reached: str) -> str:
    return f"{SOFTWARE} serves at {reached}. Next: modelsyncctl login {data / CONTEXT_FILE}\n"


def _one_of(setting: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise BadInputError(f"{setting} can't be {value[:80]!r}", hint=f"it may be {', '.join(known)}")
