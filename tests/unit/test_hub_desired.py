"""What a node should hold, from what the catalogue knows."""

from __future__ import annotations

from cloud_hub.catalog import Bounds, DesiredRows, Followed, ReleaseRow
from cloud_hub.desired import choose, desired
from modelsyncd.digest import digest_of
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef, SignedRelease, Variant
from modelsyncd.session.frames import Offer

HELMET = parse_model("acme/helmet")


def _variant(name: str, **selector: str) -> Variant:
    return Variant(name, ManifestRef(digest_of(name.encode()), 1, 1, 1, bytes(32)), selector)


def _row(*variants: Variant) -> ReleaseRow:
    return ReleaseRow(HELMET, 1, digest_of(b"r"), SignedRelease(b"r"), variants, ("stable",), 1.0, "admin/a")


def test_the_variant_that_asks_for_most_and_fits_is_chosen() -> None:
    plain, jetson, small = _variant("plain"), _variant("jetson", gpu="orin"), _variant("small", gpu="orin", ram="8")
    variants = (plain, jetson, small)
    assert choose(variants, {}) is plain
    assert choose(variants, {"gpu": "orin"}) is jetson
    assert choose(variants, {"gpu": "orin", "ram": "8", "site": "oslo"}) is small
    assert choose(variants, {"gpu": "other"}) is plain


def test_of_equally_good_variants_the_first_is_chosen() -> None:
    one, two = _variant("one", gpu="orin"), _variant("two", site="oslo")
    assert choose((one, two), {"gpu": "orin", "site": "oslo"}) is one
    assert choose((two, one), {"gpu": "orin", "site": "oslo"}) is two


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
