"""What a node should hold, from what the catalogue knows."""

from __future__ import annotations

from cloud_hub.catalog import Bounds, DesiredRows, Followed, ReleaseRow
from cloud_hub.desired import desired
from modelsyncd.digest import digest_of
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef, SignedRelease, Variant
from modelsyncd.session.frames import Facts, Offer, Unfit

HELMET = parse_model("acme/helmet")


def _variant(name: str, **selector: str) -> Variant:
    return Variant(name, ManifestRef(digest_of(name.encode()), 1, 1, 1, bytes(32)), selector)


def _row(*variants: Variant) -> ReleaseRow:
    return ReleaseRow(HELMET, 1, digest_of(b"r"), SignedRelease(b"r"), variants, ("stable",), 1.0, "admin/a")


def test_a_node_is_offered_the_variant_that_fits_its_labels_and_facts_best() -> None:
    row = _row(_variant("plain"), _variant("jetson", gpu="orin"), _variant("small", gpu="orin", memory="<8GiB"))
    followed = [Followed(HELMET, "stable", 0, row)]

    def offered(labels: dict[str, str], facts: Facts) -> str:
        said = desired(DesiredRows(7, labels, followed, Bounds(), facts))
        assert said.labels == labels
        (assignment,) = said.assignments
        assert assignment.offer is not None
        return next(one.name for one in row.variants if one.manifest.digest == assignment.offer.manifest)

    assert offered({}, {}) == "plain"
    assert offered({"gpu": "orin"}, {}) == "jetson"
    assert offered({}, {"gpu": ("none", "orin")}) == "jetson"
    assert offered({"gpu": "orin"}, {"memory": (str(4 << 30),)}) == "small"
    assert offered({"gpu": "other"}, {"gpu": ("orin",)}) == "plain"  # a label counts before a fact


def test_what_keeps_each_variant_from_a_node_is_said_when_none_fits() -> None:
    row = _row(_variant("jetson", gpu="orin"), _variant("large", memory=">=8GiB", site="oslo"))
    said = desired(DesiredRows(7, {"site": "oslo"}, [Followed(HELMET, "stable", 0, row)], Bounds(), {"memory": ("5",)}))
    (assignment,) = said.assignments
    assert assignment.offer is None
    assert assignment.unfit == Unfit(1, ("jetson: gpu is not known, not orin", "large: memory is 5, not >=8GiB"))


def test_a_channel_without_a_fitting_release_is_listed_without_an_offer() -> None:
    only = _row(_variant("jetson", gpu="orin"))
    followed = [Followed(HELMET, "stable", 2, only), Followed(HELMET, "canary", 0, None)]
    said = desired(DesiredRows(7, {}, followed, Bounds()))
    assert (said.generation, said.keep) == (7, 2)
    assert [(each.channel, each.priority, each.offer) for each in said.assignments] == [
        ("stable", 2, None),
        ("canary", 0, None),
    ]
    fitting = desired(DesiredRows(7, {"gpu": "orin"}, followed, Bounds())).assignments[0]
    assert fitting.offer == Offer(only.signed, only.variants[0].manifest.digest)
