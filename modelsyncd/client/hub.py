"""The client of a hub for ordinary programs: each call waits for what a loop in a thread of its own answers."""

from __future__ import annotations

import atexit
import builtins
import os
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from modelsyncd.client.asking import Parent
from modelsyncd.client.hub_aio import KEEP, AsyncHubClient
from modelsyncd.client.hub_loop import HubLoop
from modelsyncd.client.hub_values import Which
from modelsyncd.client.model import LocalModel, Model, Shown
from modelsyncd.client.outgoing import Outbox, Published, Watcher
from modelsyncd.client.released import Node, Release
from modelsyncd.errors import ConflictError

T = TypeVar("T")


class HubClient:
    """A hub, as a job in the cloud sees it. Safe to share between threads; a context manager that closes itself.

    `target` is "hub:PATH", the context file that lets us in; without one, or "hub", it is $MODELSYNCD_CONTEXT or the
    context that `modelsyncctl login` chose. What is fetched rests in `cache`, by default $MODELSYNCD_CACHE or
    ~/.cache/modelsyncd: the `keep` versions of each model that were used last, and those that are held.

    All calls raise RoadError when no hub answers, and RefusedError for what this context may not do; what fetches,
    publishes or waits goes on by itself after a lost link.

    >>> with HubClient("hub:admin.toml") as hub:
    ...     print(hub.get("acme/helmet@stable").number)
    7
    """

    def __init__(
        self, target: str | Path | None = None, *, cache: str | os.PathLike[str] | None = None, keep: int = KEEP
    ) -> None:
        self._client = AsyncHubClient(target, cache=cache, keep=keep)
        self.target = self._client.target
        self.cache = self._client.cache
        self._loop = HubLoop()
        atexit.register(self.close)  # while its thread still runs: what is told of must not wait for it in vain
        try:
            self._run(self._client.__aenter__())
        except BaseException:
            self.close()
            raise

    # --- what is there ---

    def list(self) -> list[LocalModel]:
        """The channels of the hub, by name; `active` is what the cache has of the release that one names now.

        >>> for local in hub.list():
        ...     print(local.ref, local.phase, local.desired)
        acme/helmet@stable active 7
        """
        return self._run(self._client.list())

    def get(self, ref: Which, wait: float | None = None) -> Model:
        """A release, whole and verified: from the cache if it is there, else fetched, however long that takes.

        `ref` is "namespace/name@channel", "namespace/name" for its channel "stable", "namespace/name:number", or what
        `releases` told of. `wait` is how many seconds to wait for a first release, and for the hub. It may be removed
        once `keep` others were fetched: `acquire` holds it. Raises NotFoundError, InvalidNameError, DiskFullError.

        >>> hub.get("acme/helmet:7").path.name
        '7-…'
        """
        return self._run(self._client.get(ref, wait))

    def show(self, ref: str) -> Shown:
        """A channel, and the versions of its model in the cache."""
        return self._run(self._client.show(ref))

    def nodes(self, labels: Mapping[str, str] | None = None) -> builtins.list[Node]:
        """The nodes with these labels, by name, and whether they are online.

        >>> [node.name for node in hub.nodes({"site": "north"}) if node.online]
        ['lima', 'oslo']
        """
        return self._run(self._client.nodes(labels))

    def release(self, ref: Which) -> Release:
        """What the hub says of a release, without fetching it: labels, metrics, parents, producer."""
        return self._run(self._client.release(ref))

    # --- holding on to it, and hearing of what is new ---

    @contextmanager
    def acquire(self, ref: Which, wait: float | None = None, *, holder: str = "") -> Iterator[Model]:
        """As `get`, and kept in the cache until the block ends, whoever else fetches into it.

        >>> with hub.acquire("acme/helmet@stable") as model:
        ...     weights = (model.path / "weights.bin").read_bytes()
        """
        del holder
        model, lock = self._run(self._client.acquired(ref, wait))
        with lock:
            yield model

    def follow(self, ref: str, *, holder: str = "") -> Iterator[Model]:
        """What a channel names now, and then each switch, for ever: each is held until the one after it was fetched."""
        return self._step(self._client.follow(ref, holder=holder))

    def watch(self, ref: str) -> Iterator[Model]:
        """What a channel names now, and then each switch, for ever, each fetched.

        Lost links are waited out, and nothing is told twice. A slow reader misses switches between, never the newest. A
        model that is not there yet is waited for. Ends when the client is closed. Raises InvalidNameError.
        """
        return self._step(self._client.watch(ref))

    def releases(
        self, model: str, *, labels: Mapping[str, str] | None = None, after: int = 0, wait: float | None = None
    ) -> Iterator[Release]:
        """The releases of a model with these labels and a number above `after`: those there, and those that come.

        In order of their numbers, each once, whatever becomes of the link meanwhile; for ever, or until none came for
        `wait` seconds. Nothing is fetched.

        >>> for update in hub.releases("acme/helmet-updates", labels={"round": "3"}):
        ...     print(update.ref, update.producer)
        ...     break
        acme/helmet-updates:1 node/oslo
        """
        return self._step(self._client.releases(model, labels=labels, after=after, wait=wait))

    # --- the way up ---

    def publish(
        self,
        path: str | os.PathLike[str],
        model: str,
        *,
        parents: Iterable[Parent | Release] = (),
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        note: str = "",
        wait: bool = True,
        progress: Watcher | None = None,
    ) -> Published:
        """A folder or file becomes a release of "namespace/name", or also of "…@channel", moved to it.

        Returns when the hub has it: with or without `wait`, as nothing is stored here. Parents that the cache has, or
        what else it has of the model, serve as bases, so that the difference travels. Raises BadInputError,
        NotFoundError, SourceChangedError.
        """
        return self._run(
            self._client.publish(
                path,
                model,
                parents=parents,
                labels=labels,
                metrics=metrics,
                note=note,
                wait=wait,
                progress=progress,
            )
        )

    def promote(self, ref: Which, channel: str, note: str = "") -> int:
        """Moves a channel to a release; the number that it named before, 0 for none."""
        return self._run(self._client.promote(ref, channel, note))

    def record(
        self,
        model: Which,
        metrics: Mapping[str, float],
        *,
        dataset: str = "",
        stage: str = "",
        at: float = 0.0,
        variant: str | None = None,
    ) -> int:
        """Keeps numbers about a release at the hub, once each; the release's number.

        Of a release in several forms they are about the one that was got, and for a reference about the release as a
        whole; `variant` says another, "" for the whole.

        >>> hub.record("acme/helmet:7", {"accuracy": 0.93}, dataset="line-3", stage="eval")
        7
        """
        return self._run(self._client.record(model, metrics, dataset=dataset, stage=stage, at=at, variant=variant))

    def confirm(self, model: Model | str, works: bool = True, why: str = "", *, number: int = 0) -> bool:
        """False: a hub waits for nobody's word. Here so that the same program runs beside an agent."""
        return self._run(self._client.confirm(model, works, why, number=number))

    def outbox(self) -> Outbox:
        """Empty: what is published from here is at the hub when `publish` returns."""
        return self._run(self._client.outbox())

    # --- the connection ---

    def close(self) -> None:
        """Hangs up, and ends what is under way; the cache stays."""
        atexit.unregister(self.close)
        self._loop.close(self._client.close())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    def _step(self, steps: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while (step := self._run(_next(steps))) is not None:
                yield step
        except ConflictError:
            if not self._loop.closed:
                raise
        finally:
            if not self._loop.closed:
                self._run(steps.aclose())

    def __enter__(self) -> HubClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _next(steps: AsyncGenerator[T, None]) -> T | None:
    return await anext(steps, None)
