"""The only place that says what the next release takes over from the one to which a variant is added."""

from __future__ import annotations

from dataclasses import replace

from modelsyncd.errors import BadInputError
from modelsyncd.exchange.publishing import Wish
from modelsyncd.release import Release


def added_to(wish: Wish, release: Release) -> Wish:
    """The wish with all that it does not say itself: the release's variants, and what is known of it.

    Raises BadInputError for another model's release, and for a bundle.
    """
    if release.model != wish.model:
        raise BadInputError(
            f"{release.model}:{release.number} is no release of {wish.model}",
            hint="a variant is added to a release of the same model",
        )
    if release.members:
        raise BadInputError(
            f"{release.model}:{release.number} is a bundle, whose forms are those of its members",
            hint="add the variant to the member that it is one of, and create the bundle anew",
        )
    return replace(
        wish,
        labels={**release.labels, **wish.labels},
        metrics={**release.metrics, **wish.metrics},
        parents=wish.parents or release.parents,
        licence=wish.licence or release.licence,
        datasets=wish.datasets or release.datasets,
        kept=release.variants,
    )
