"""`modelsyncctl push`: a file or folder becomes a model's next release."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from modelsyncd.ctl import pairs
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.conversation import carry
from modelsyncd.ctl.figures import count, duration, share, size
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.progress import Meter, Step, meter
from modelsyncd.ctl.retry import insist
from modelsyncd.ctl.source_giver import SourceGiver
from modelsyncd.ctl.tally import Tally
from modelsyncd.ctl.thread import Check, in_thread
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import BadInputError, NotFoundError, NumberTakenError
from modelsyncd.limits import LIMITS
from modelsyncd.link.pump import Pump
from modelsyncd.manifest import Manifest, piece_digests
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef, parse_channel, parse_ref
from modelsyncd.release import DEFAULT_VARIANT, ManifestRef, Release, SignedRelease, Variant, check
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source, scan
from modelsyncd.wire.nouns import encode_manifest, encode_release

NUMBERS_TRIED = 10  # each is lost to somebody who published meanwhile; ten in a row means a storm


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants published, but for its content."""

    model: ModelName
    channel: str
    labels: dict[str, str]
    metrics: dict[str, float]
    note: str


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it.

    `had` in plain bytes was at the hub before, `wire` in encoded bytes travelled; `seconds` from the first offer.
    """

    wish: Wish
    ref: ManifestRef
    settled: Settled
    ours: bool
    had: int
    wire: int
    seconds: float


@click.command("push")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--channel", metavar="C", help="Move this channel to the new release.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
@click.option("--no-retry", is_flag=True, help="End when the link is lost, instead of going on when it is back.")
@asked
def command(
    asked: Asked,
    *,
    path: Path,
    model: str,
    channel: str | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
    no_retry: bool,
) -> None:
    """Publish a file or folder as a model's next release.

    Only what the hub does not have yet travels. A push that was cut off goes on when the same command is given again.
    """
    ref = parse_ref(model)
    wish = Wish(ref.model, _channel(ref, channel), pairs.labels(labels), pairs.metrics(metrics), note)
    if len(note) > LIMITS.note_chars:
        raise BadInputError(f"a note may have {LIMITS.note_chars} characters, not {len(note)}")
    asked.run(
        _push(asked, path, wish, retry=not no_retry),
        interrupted="What the hub has received stays there: the same command goes on from it. Nothing was published.",
    )


def _channel(ref: ModelRef, channel: str | None) -> str:
    if ref.number is not None:
        raise BadInputError(f"the hub gives the number: push to {ref.model}, without :{ref.number}")
    if ref.channel and channel and ref.channel != channel:
        raise BadInputError(f"two channels are named: {ref.channel} and {channel}")
    return parse_channel(channel) if channel else ref.channel or ""


async def _push(asked: Asked, path: Path, wish: Wish, *, retry: bool) -> None:
    async with connect(asked) as hub:
        number = await next_number(hub, wish.model)  # first of all: a hub that can't be reached must not cost a scan
        with meter(f"reading {path.name or path}", silent=asked.json) as shown:
            source = await in_thread(lambda check: _scan(path, shown, check))
        with source, meter(f"pushing {wish.model}", silent=asked.json) as shown:
            published = await _Push(hub, wish, source, shown, retry=retry).run(number)
    asked.answer(describe(published), text(published))


def _scan(path: Path, shown: Meter, check: Check) -> Source:
    def progress(done: int, total: int) -> None:
        check()
        shown.show(Step(total, done))

    return scan(path, progress=progress)


async def next_number(hub: Hub, model: ModelName) -> int:
    """The number that a model's next release will have, if nobody publishes meanwhile."""
    try:
        return (await hub.release(str(model))).number + 1
    except NotFoundError:
        return 1


def release_of(wish: Wish, ref: ManifestRef, number: int, producer: str, created_at: int) -> Release:
    """The release to offer. Raises BadInputError, LimitError."""
    return check(
        Release(
            model=wish.model,
            number=number,
            variants=(Variant(DEFAULT_VARIANT, ref),),
            labels=wish.labels,
            metrics=wish.metrics,
            producer=producer,
            created_at=created_at,
            note=wish.note,
        )
    )


def ref_of(manifest: Manifest, manifest_bytes: bytes) -> ManifestRef:
    """How a release names its manifest."""
    return ManifestRef(
        digest=digest_of(manifest_bytes),
        size=len(manifest_bytes),
        content_size=manifest.content_size,
        files=len(manifest.files),
        chunk_digests=piece_digests(manifest_bytes),
    )


class _Push:
    """One push, over as many tries and numbers as it takes."""

    def __init__(self, hub: Hub, wish: Wish, source: Source, shown: Meter, *, retry: bool) -> None:
        manifest_bytes = encode_manifest(source.manifest)
        self._hub = hub
        self._wish = wish
        self._ref = ref_of(source.manifest, manifest_bytes)
        self._giver = SourceGiver(self._ref.digest, manifest_bytes, source)
        self._tally = Tally(self._ref.content_size)
        self._shown = shown
        self._retry = retry

    async def run(self, number: int) -> Published:
        """Raises NumberTakenError when others are always first, and whatever ends a transfer."""
        began, created_at = time.monotonic(), int(time.time())
        for tried in range(1, NUMBERS_TRIED + 1):
            release = encode_release(release_of(self._wish, self._ref, number, self._hub.me, created_at))
            offer = Offer(SignedRelease(release), self._ref.digest, self._wish.channel)
            try:
                settled = await self._offer(offer)
            except NumberTakenError:
                if tried == NUMBERS_TRIED:
                    raise
                number = await next_number(self._hub, self._wish.model)
                continue
            break
        # A try whose answer was lost may have published it: then the hub says "there already", and it is ours.
        ours = settled.created or settled.release_digest == digest_of(release)
        seconds = time.monotonic() - began
        had = self._ref.content_size - self._giver.plain
        return Published(self._wish, self._ref, settled, ours, had, self._giver.wire, seconds)

    async def _offer(self, offer: Offer) -> Settled:
        def attempt() -> Awaitable[Settled]:
            say = partial(Pump.say, frame=offer)
            return carry(self._hub, say, offer.manifest, giver=self._giver, show=self._show)

        return await insist(attempt, retry=self._retry, note=self._shown.note, moved=lambda: self._giver.wire)

    def _show(self, progress: Progress) -> None:
        self._tally.given(progress)
        self._shown.show(self._tally.step)


def describe(done: Published) -> dict[str, object]:
    """For programs."""
    return {
        "model": str(done.wish.model),
        "number": done.settled.number,
        "created": done.ours,
        "channel": done.wish.channel or None,
        "release_digest": to_text(done.settled.release_digest),
        "manifest_digest": to_text(done.ref.digest),
        "files": done.ref.files,
        "bytes": done.ref.content_size,
        "bytes_had": done.had,
        "bytes_wire": done.wire,
        "seconds": round(done.seconds, 3),
    }


def text(done: Published) -> str:
    """For people, with what to type next."""
    name = f"{done.wish.model}:{done.settled.number}"
    content = f"{count(done.ref.files, 'file')}, {size(done.ref.content_size)}"
    if done.ours:
        had = f"{share(done.had, done.ref.content_size)} was there already" if done.had else "none of it was there"
        lines = [f"Published {name}: {content}; {had}, {size(done.wire)} sent in {duration(done.seconds)}."]
    else:
        lines = [f"The same content is there already as {name} ({content}); nothing new was published."]
    if done.wish.channel:
        where = f"{done.wish.model}@{done.wish.channel}"
        lines += [f"{where} names it.", f"Next: modelsyncctl assign {where} --node NAME"]
    else:
        lines.append(f"Next: modelsyncctl promote {name} {DEFAULT_CHANNEL}")
    return "\n".join(lines)
