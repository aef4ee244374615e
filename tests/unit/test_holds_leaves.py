"""Leaves that are given in one ruling share one month."""

from dataclasses import replace

from edge_agent.goals import Goals
from edge_agent.holds import Asking, Link, rule
from edge_agent.usage import ALL
from modelsyncd.manners import Manners
from modelsyncd.plan import Priced
from tests.property.test_holds_laws import REFS
from tests.property.test_reconcile_laws import goal


def test_two_estimates_do_not_get_the_same_month() -> None:
    both = [replace(goal(REFS[number], number + 1, 0), papers=1) for number in range(2)]
    asking = {one.version.manifest: Asking(Priced(alone=35, alone_wire=35, left=35), 0.0) for one in both}
    goals = Goals(1, tuple(both), manners=Manners(month_bytes=100))
    leaves = rule(goals, frozenset(), Link(used={ALL: 0}, asking=asking), 10.0).leaves
    assert list(leaves.values()) == [70]
