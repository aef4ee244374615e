"""The only place that reads what a release is said to have come from: RELEASE or RELEASE=ROLE."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.ctl.hub import Hub
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelRef, nearest, parse_model, parse_ref
from modelsyncd.release import ROLES, Parent


def origin(text: str) -> tuple[ModelRef, str]:
    """A release and its role, as in "acme/base:3=distilled-from". Raises BadInputError and its kind."""
    name, equals, role = text.partition("=")
    if equals and role not in ROLES:
        close = nearest(role, ROLES) or ROLES
        raise BadInputError(
            f"{role[:80]!r} is no role of a parent", hint=f"as in {name}={close[0]}: {', '.join(ROLES)}"
        )
    return parse_ref(name), role or ROLES[0]


async def parents(hub: Hub, origins: Sequence[tuple[ModelRef, str]]) -> tuple[Parent, ...]:
    """The releases that these name now. Raises NotFoundError."""
    found = []
    for ref, role in origins:
        view = await hub.release(str(ref))
        found.append(Parent(parse_model(view.model), view.number, digest_of(view.signed.release), role))
    return tuple(dict.fromkeys(found))
