"""The only place that says which releases the rules of what is kept let go. Pure.

The rule that counts is the one whose pattern says a model's name most precisely. A release stays when it is among the
newest that the rule keeps, or young enough; when no rule covers its model; when something holds it; and when a release
that stays came from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.catalog.lineage import Name
from cloud_hub.catalog.removals import Aged, Holdings
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.patterns import covers


@dataclass(frozen=True, slots=True)
class Verdict:
    """What goes, with the rule that lets it go, in words; and what only stays because something holds it, with what.

    What goes is in the order in which it may go: what was committed last first, for it may have come from the others.
    """

    going: Mapping[Name, str]
    spared: Mapping[Name, str]


def judge(holdings: Holdings, rules: Sequence[RetentionRow], now: float) -> Verdict:
    """Judges all releases. `now` is in seconds since 1970 UTC."""
    loose = _loose(holdings.releases, rules, now)
    parents: defaultdict[Name, list[Name]] = defaultdict(list)
    for child, parent in holdings.ties:
        parents[child].append(parent)
    spared = {name: holdings.held[name] for name in loose if name in holdings.held}
    staying = [each.name for each in holdings.releases if each.name not in loose or each.name in spared]
    while staying:
        child = staying.pop()
        for parent in parents[child]:
            if parent in loose and parent not in spared:
                spared[parent] = f"{child.model}:{child.number} came from it"
                staying.append(parent)
    newest_first = (each.name for each in reversed(holdings.releases))
    return Verdict({name: loose[name] for name in newest_first if name in loose and name not in spared}, spared)


def best_rule(model: str, rules: Sequence[RetentionRow]) -> RetentionRow | None:
    """The rule for a model: a whole name before a pattern, a longer pattern before a shorter one."""
    fitting = [rule for rule in rules if covers(rule.models, model)]
    return max(fitting, key=lambda rule: (rule.models == model, len(rule.models)), default=None)


def words(rule: RetentionRow) -> str:
    """What a rule keeps."""
    kept = [f"the newest {rule.newest}"] if rule.newest is not None else []
    kept += [f"what is younger than {rule.seconds / 86_400:g} d"] if rule.seconds is not None else []
    return f"{rule.models} keeps {' and '.join(kept) or 'everything'}"


def _loose(releases: Sequence[Aged], rules: Sequence[RetentionRow], now: float) -> dict[Name, str]:
    """Releases that their rule does not keep."""
    by_model: defaultdict[str, list[Aged]] = defaultdict(list)
    for each in releases:
        by_model[each.name.model].append(each)
    loose: dict[Name, str] = {}
    for model, there in by_model.items():
        rule = best_rule(model, rules)
        if rule is None or (rule.newest is None and rule.seconds is None):
            continue
        there.sort(key=lambda each: each.name.number, reverse=True)
        for each in there[max(1, rule.newest or 0) :]:
            if rule.seconds is None or now - each.at > rule.seconds:
                loose[each.name] = words(rule)
    return loose
