"""The only place that has the hub fetch a model from a URL, and shows how far it is."""

from __future__ import annotations

from modelsyncd.ctl.asked import Asked
from modelsyncd.ctl.figures import count, duration, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.progress import Step, meter
from modelsyncd.digest import digest_from, to_text
from modelsyncd.errors import RoadError
from modelsyncd.exchange.publishing import Wish
from modelsyncd.names import DEFAULT_CHANNEL
from modelsyncd.wire.v1 import imports_pb2 as pb


async def by_hub(asked: Asked, url: str, wish: Wish) -> None:
    """The hub fetches it, with its own credentials, and publishes it. Raises ModelsyncError."""
    request = pb.ImportRequest(
        url=url,
        model=str(wish.model),
        channel=wish.channel,
        labels=wish.labels,
        metrics=wish.metrics,
        note=wish.note,
        licence=wish.licence,
        datasets=wish.datasets,
    )
    done: pb.Imported | None = None
    async with connect(asked) as hub:
        with meter(f"fetching {url}", silent=asked.json) as shown:
            async for answer in hub.listen(hub.imports.Import, request):
                if answer.HasField("done"):
                    done = answer.done
                else:
                    shown.show(Step(answer.bytes_total, answer.bytes))
    if done is None:
        raise RoadError("the hub ended the import without a word", hint="the same command goes on from it")
    asked.answer(_describe(done, url), _text(done, url))


def _describe(done: pb.Imported, url: str) -> dict[str, object]:
    return {
        "form": "url",
        "url": url,
        "model": done.model,
        "number": done.number,
        "created": done.created,
        "release_digest": to_text(digest_from(done.release_digest)),
        "files": done.files,
        "bytes": done.bytes,
        "seconds": done.seconds,
    }


def _text(done: pb.Imported, url: str) -> str:
    name, content = f"{done.model}:{done.number}", f"{count(done.files, 'file')}, {size(done.bytes)}"
    if not done.created:
        return f"The same content is there already as {name} ({content}); nothing new was published."
    first = f"Published {name}: {content}, fetched by the hub from {url} in {duration(done.seconds)}."
    return f"{first}\nNext: modelsyncctl promote {name} {DEFAULT_CHANNEL}"
