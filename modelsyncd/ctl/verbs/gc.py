"""`modelsyncctl gc`: removes what no rule keeps and nothing holds, and frees what it took, while the hub runs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from modelsyncd.ages import parse_age
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.progress import Step, meter
from modelsyncd.wire.v1 import retention_pb2 as pb

_SHOWN = 20  # releases named to a person; --json has them all


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would go, and what stays only because of what.")
@click.option("--grace", metavar="AGE", help="Leave alone what came in this time: 1d unless it is said, 0m for none.")
@asked
def command(asked: Asked, *, dry_run: bool, grace: str | None) -> None:
    """Remove releases that no rule keeps, and free what they took.

    Rules are set with `modelsyncctl retain`; without any, no release goes, and only what cut pushes left is freed. The
    hub serves on meanwhile. Stopping it halfway is safe:

        modelsyncctl gc --dry-run
    """
    request = pb.CollectRequest(dry_run=dry_run, grace=None if grace is None else parse_age(grace))
    asked.run(_gc(asked, request), interrupted="What went by then was needed by nobody; `gc` again takes the rest.")


async def _gc(asked: Asked, request: pb.CollectRequest) -> None:
    async with connect(asked) as hub:
        with meter("looking at chunks", silent=asked.json, amount=_chunks) as shown:
            last = pb.CollectResponse()
            async for last in hub.listen(hub.retention.Collect, request):
                shown.show(Step(0, last.chunks))
    if not last.done:
        raise hub.ended("the hub stopped before its gc was done")
    document = {
        "dry_run": request.dry_run,
        "going": [_shape(one) for one in last.going],
        "spared": [_shape(one) for one in last.spared],
        "removed": last.removed,
        "chunks": last.chunks,
        "chunks_swept": last.swept,
        "bytes_swept": last.swept_bytes,
        "packs_freed": last.packs,
        "bytes_copied": last.copied_bytes,
        "bytes_freed": last.freed_bytes,
    }
    asked.answer(document, _dry(last) if request.dry_run else _done(last))


def _dry(last: pb.CollectResponse) -> str:
    going = count(len(last.going), "release")
    said = f"{going} would go, and {count(last.swept, 'chunk')} with {size(last.swept_bytes)} in packs."
    return f"{said}{_list(last.going)}{_held(last.spared)}\nNothing was changed. To do it: modelsyncctl gc"


def _done(last: pb.CollectResponse) -> str:
    said = f"{count(last.removed, 'release')} went, and {count(last.swept, 'chunk')} that nothing needed."
    freed = f"{size(max(0, last.freed_bytes))} are free, from {count(last.packs, 'pack')}."
    left = last.swept_bytes - last.freed_bytes
    rest = f" {size(left)} lie in packs that are in use or too full to be worth a rewrite." if left > 0 else ""
    return f"{said} {freed}{rest}{_list(last.going)}{_held(last.spared)}"


def _held(spared: Sequence[pb.Judged]) -> str:
    return f"\n{count(len(spared), 'release')} that no rule keeps stay:{_list(spared)}" if spared else ""


def _list(judged: Sequence[pb.Judged]) -> str:
    shown = "".join(f"\n  {one.model}:{one.number}  {one.why}" for one in judged[:_SHOWN])
    return shown + (f"\n  and {len(judged) - _SHOWN} more" if len(judged) > _SHOWN else "")


def _shape(one: pb.Judged) -> dict[str, object]:
    return {"model": one.model, "number": one.number, "why": one.why}


def _chunks(number: float) -> str:
    return count(round(number), "chunk")
