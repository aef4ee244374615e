"""The only place where a person's command pushes what it has read, counts what that took, and says what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelsyncd.ctl import cost as costs
from modelsyncd.ctl.asked import Asked
from modelsyncd.ctl.cost import Cost
from modelsyncd.ctl.figures import count, duration, share, size
from modelsyncd.ctl.progress import Meter, Step, meter
from modelsyncd.ctl.retry import noted
from modelsyncd.ctl.tally import Tally
from modelsyncd.digest import to_text
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.publishing import Push, Watched, Wish
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.names import DEFAULT_CHANNEL
from modelsyncd.release import ManifestRef
from modelsyncd.session.events import Settled
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source, scan

WORTH_A_HINT = 1 << 20  # bytes that travelled without a base
HINT = "With --base DIR, the folder of an earlier release, what was only trained further travels as the difference."


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it; the cost counts from the first offer. `hint` says how it could have been less.

    `bases` are those that were named, with whether the hub holds them: None where that did not come up.
    """

    wish: Wish
    ref: ManifestRef
    settled: Settled
    ours: bool
    cost: Cost
    bases: tuple[tuple[LocalBase, bool | None], ...] = ()
    hint: str = ""
    also: tuple[ManifestRef, ...] = ()
    """Of the variants that came with it."""

    @property
    def files(self) -> int:
        """Of all that was pushed."""
        return sum(ref.files for ref in (self.ref, *self.also))


async def read(asked: Asked, path: Path) -> Source:
    """Scans a file or folder, with a bar. Raises what scanning raises."""
    with meter(f"reading {path.name or path}", silent=asked.json) as shown:
        return await in_thread(lambda check: _scan(path, shown, check))


def _scan(path: Path, shown: Meter, check: Check) -> Source:
    def progress(done: int, total: int) -> None:
        check()
        shown.show(Step(total, done))

    return scan(path, progress=progress)


async def publish(push: Push, shown: Meter, number: int) -> Published:
    """Carries a push out, beginning with this number. Raises what ends it."""
    tallies, content = [Tally(ref.content_size) for ref in push.refs], sum(ref.content_size for ref in push.refs)

    def show(progress: Progress) -> None:
        tallies[push.at].given(progress)
        steps = [tally.step for tally in tallies[: push.at + 1]]
        before = sum(step.total for step in steps[:-1])  # what was not given was there
        shown.show(Step(content, before + steps[-1].done, sum(step.had for step in steps)))

    def begin() -> None:
        tallies[push.at].begin()

    push.watched = Watched(begin, show, noted(shown.note))
    landed = await push.run(number)
    givers = push.givers
    cost = Cost(
        content=content,
        had=content - sum(giver.plain for giver in givers),
        coded=sum(giver.coded for giver in givers),
        wire=sum(giver.wire for giver in givers),
        giver_cpu=sum(giver.cpu for giver in givers),
        taker_cpu=sum(tally.taker_cpu for tally in tallies),
        seconds=landed.seconds,
    )
    held = [giver.held for giver in givers if giver.held is not None]
    told = tuple((one, any(one.name in names for names in held) if held else None) for one in push.bases)
    hint = HINT if landed.settled.number > 1 and not push.bases and cost.plain >= WORTH_A_HINT else ""
    return Published(push.wish, push.ref, landed.settled, landed.ours, cost, told, hint, push.refs[1:])


def describe(done: Published) -> dict[str, object]:
    """For programs."""
    return {
        "model": str(done.wish.model),
        "number": done.settled.number,
        "created": done.ours,
        "channel": done.wish.channel or None,
        "release_digest": to_text(done.settled.release_digest),
        "manifest_digest": to_text(done.ref.digest),
        "variant": done.wish.variant,
        "kept": [one.name for one in done.wish.kept if one.name != done.wish.variant],
        "files": done.files,
        **costs.describe(done.cost),
        "bases": [one.describe() | {"held": held} for one, held in done.bases],
        "hint": done.hint or None,
    }


def text(done: Published) -> str:
    """For people, with what to type next."""
    name = f"{done.wish.model}:{done.settled.number}"
    content = f"{count(done.files, 'file')}, {size(done.cost.content)}"
    if done.ours:
        cost = done.cost
        had = f"{share(cost.had, cost.content)} was there already" if cost.had else "none of it was there"
        lines = [f"Published {name}: {content}; {had}, {size(cost.wire)} sent in {duration(cost.seconds)}."]
        lines += [told] if (told := costs.sentence(cost, here=cost.giver_cpu, there=cost.taker_cpu)) else []
    else:
        lines = [f"The same content is there already as {name} ({content}); nothing new was published."]
    kept = [one.name for one in done.wish.kept if one.name != done.wish.variant]
    lines += [f"Beside it, as before: {', '.join(kept)}."] if kept else []
    lines += [_unknown(one) for one, held in done.bases if held is False]
    lines += [done.hint] if done.hint else []
    if done.wish.channel:
        where = f"{done.wish.model}@{done.wish.channel}"
        lines += [f"{where} names it.", f"Next: modelsyncctl assign {where} --node NAME"]
    else:
        lines.append(f"Next: modelsyncctl promote {name} {DEFAULT_CHANNEL}")
    return "\n".join(lines)


def _unknown(base: LocalBase) -> str:
    return (
        f"The hub does not hold {base.path} as it is, so nothing was coded against it: a base is a folder or file"
        " exactly as it was pushed or pulled."
    )
