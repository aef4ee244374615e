"""The only place that says, as far as the hub can know, what lies where a release would travel to.

A node says which versions it holds when it connects, and which are active or staged with each report. Neither is a
promise: what is planned on it is as true as what the node last said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cloud_hub.catalog import Catalog, NodeRow, ReleaseRow
from cloud_hub.desired import unfit
from cloud_hub.presence import Live
from cloud_hub.rights import AssignedOnly, Right, anything
from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, NotFoundError, NoVariantError
from modelsyncd.fitting import best_variant
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import DEFAULT_VARIANT, Variant
from modelsyncd.session.frames import Report, Standing
from modelsyncd.wire.nouns import decode_report

NAMED = 16  # manifests that a node names as bases


@dataclass(frozen=True, slots=True)
class Held:
    """A version that lies there whole; `model` is None and `number` 0 when this hub does not know it as a release."""

    manifest: Digest
    model: ModelName | None = None
    number: int = 0
    active: bool = False


@dataclass(frozen=True, slots=True)
class Holdings:
    """What lies there: `held` with the likeliest base first. `known` is False when nobody ever said.

    `rate` in bytes a second, `disk_free` and `arrived` (plain bytes of what is planned) in bytes; 0 for unknown.
    """

    held: Sequence[Held] = ()
    known: bool = True
    right: Right = anything
    codecs: frozenset[Codec] = READABLE
    rate: float = 0.0
    disk_free: int = 0
    arrived: int = 0


def usual(release: ReleaseRow, name: str = "") -> Variant:
    """The form of a release of this name, or the one that is meant when nobody says which.

    Raises BadInputError when there is none.
    """
    named = [variant for variant in release.variants if variant.name == (name or DEFAULT_VARIANT)]
    for variant in (*named, *(() if name else release.variants)):
        return variant
    raise BadInputError(
        f"{release.model}:{release.number} has no {f'variant {name[:40]!r}' if name else 'content'}",
        hint=f"modelsyncctl show {release.model}:{release.number}",
    )


def fitting(release: ReleaseRow, node: NodeRow) -> Variant:
    """The form of a release that a node would get. Raises NoVariantError when none fits."""
    variant = best_variant(release.variants, node.labels, node.facts)
    if variant is None:
        found = unfit(release, node.labels, node.facts)
        raise NoVariantError(
            f"no variant of {release.model}:{release.number} fits {node.name}: {'; '.join(found.why if found else ())}",
            hint=f"modelsyncctl show {release.model}:{release.number}",
        )
    return variant


def of_release(release: ReleaseRow, name: str = "") -> Holdings:
    """Somebody who holds one release, in the form of this name if it has that, and nothing else.

    Raises BadInputError when it has no content.
    """
    known = name if any(variant.name == name for variant in release.variants) else ""
    return Holdings([Held(usual(release, known).manifest.digest, release.model, release.number, active=True)])


class NodeHoldings:
    """Finds out what lies on a node. Everything here blocks."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def of(self, node: NodeRow, live: Live | None, release: ReleaseRow) -> Holdings:
        """What lies on a node that may fetch `release`."""
        greeting = live.greeting if live is not None else None
        report = decode_report(node.report) if node.report else None
        said = list(greeting.holds) if greeting is not None else []
        held = [*self._standing(node, report), *self._named(said, release.model)]
        return Holdings(
            held=_ranked(held, release.model),
            known=greeting is not None or report is not None,
            right=AssignedOnly(self._catalog, node.name),
            codecs=greeting.codecs & READABLE if greeting is not None else READABLE,
            rate=live.rate() if live is not None else 0.0,
            disk_free=report.disk_free if report is not None else 0,
            arrived=_arrived(report, release),
        )

    def _standing(self, node: NodeRow, report: Report | None) -> Iterable[Held]:
        for one in report.standings if report is not None else ():
            for number, variant in {(one.active, one.active_variant), (one.staged, one.variant)}:
                found = self._form(ModelRef(one.model, number=number), variant, node) if number else None
                if found is not None:
                    active = (number, variant) == (one.active, one.active_variant)
                    yield Held(found.manifest.digest, one.model, number, active=active)

    def _form(self, ref: ModelRef, variant: str, node: NodeRow) -> Variant | None:
        """What the node says that it has, or what it would get if it does not say which."""
        try:
            release = self._catalog.models.release(ref)
            return usual(release, variant) if variant else best_variant(release.variants, node.labels, node.facts)
        except (NotFoundError, BadInputError):
            return None  # a node may speak of what another hub gave it

    def _named(self, manifests: Sequence[Digest], model: ModelName) -> Iterable[Held]:
        for manifest in manifests:
            release = self._catalog.models.by_manifest(model, manifest)
            if release is not None:
                yield Held(manifest, release.model, release.number)
            elif self._catalog.manifests.get(manifest) is not None:
                yield Held(manifest)


def _ranked(held: Iterable[Held], model: ModelName) -> list[Held]:
    """As a node names them: the same model's first, what is active before what is not, then the newest."""
    best: dict[Digest, Held] = {}
    rank: Callable[[Held], tuple[bool, bool, int]] = lambda one: (one.model != model, not one.active, -one.number)  # noqa: E731
    for one in sorted(held, key=rank):
        best.setdefault(one.manifest, one)
    return list(best.values())[:NAMED]


def _arrived(report: Report | None, release: ReleaseRow) -> int:
    """Plain bytes of a release that a node has fetched and not put in place yet."""
    standings: Sequence[Standing] = report.standings if report is not None else ()
    found = [
        one.bytes_done - one.bytes_had
        for one in standings
        if (one.model, one.desired) == (release.model, release.number) and one.bytes_done < one.bytes_total
    ]
    return max([0, *found])
