"""The client for ordinary programs: each call waits for its answer. `aio.AsyncClient` is the same for asyncio."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc

from modelsyncd.client import asking
from modelsyncd.client.answer import (
    Publishing,
    error_of,
    findings,
    is_gone,
    listed,
    model_of,
    no_agent,
    outbox_of,
    shown,
)
from modelsyncd.client.asking import Parent
from modelsyncd.client.finding import Findings
from modelsyncd.client.grip import PAUSE, Grip, begin_with
from modelsyncd.client.model import LocalModel, Model, Shown
from modelsyncd.client.outgoing import Outbox, Published, Watcher
from modelsyncd.client.target import OPTIONS, REPLY_SECONDS, deadline_of, metadata_of, resolve, seconds_of
from modelsyncd.errors import ModelsyncError
from modelsyncd.wire.v1 import jobs_pb2, jobs_pb2_grpc

T = TypeVar("T")


class Client:
    """The agent of this machine. Safe to share between threads; a context manager that closes itself.

    `target` is a socket's path, "unix:PATH" or "HOST:PORT"; without one it is $MODELSYNCD_AGENT or the usual socket.
    `token` says who this is where the socket can't be reached, over HOST:PORT. Nothing is connected before the first
    call, and no call survives a fork: make a client in each process.

    All calls raise RoadError when no agent answers, and RefusedError for what this user may not do.

    >>> with Client() as agent:
    ...     print(agent.get("acme/helmet@stable").number)
    1
    """

    def __init__(self, target: str | Path | None = None, *, token: str = "") -> None:
        self.target = resolve(target)
        self._metadata = metadata_of(token)
        self._channel = grpc.insecure_channel(self.target, options=OPTIONS)
        self._jobs = jobs_pb2_grpc.JobsServiceStub(self._channel)
        self._closed = threading.Event()

    # --- what is here ---

    def list(self) -> list[LocalModel]:
        """The channels that this machine follows, by name.

        >>> for local in client.list():
        ...     print(local.ref, local.phase, local.desired)
        acme/helmet@stable active 1
        """
        answer = self._ask(self._jobs.List, jobs_pb2.ListRequest())
        return [listed(message) for message in answer.models]

    def get(self, ref: str, wait: float | None = None) -> Model:
        """What is active: "namespace/name@channel", or "namespace/name" for its channel "stable".

        Waits up to `wait` seconds for a first version, and for the agent itself; without it the answer comes at once.
        The version may be pruned once the channel has been switched twice: `acquire` holds it. Raises NotFoundError
        (which names the nearest), InvalidNameError.

        >>> model = client.get("acme/helmet@stable", wait=30)
        >>> sorted(path.name for path in model.path.iterdir())
        ['config.json', 'weights.bin']
        """
        seconds = seconds_of(wait)
        request = jobs_pb2.GetRequest(ref=ref, wait_seconds=seconds)
        try:
            answer = self._jobs.Get(
                request, timeout=deadline_of(seconds), wait_for_ready=seconds > 0, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        return model_of(answer.active)

    def show(self, ref: str) -> Shown:
        """All that is known here of one channel: versions on the disk, who holds them, what failed.

        >>> for version in client.show("acme/helmet").versions:
        ...     print(version.number, version.size, version.whole)
        1 1002 True
        """
        return shown(self._ask(self._jobs.Show, jobs_pb2.ShowRequest(ref=ref)))

    def find(self, query: str = "", *, sort: str = "", limit: int = 100, fields: Iterable[str] = ()) -> Findings:
        """Releases for which a query is true, of the models that this machine follows; docs/query.md has the language.

        It works with the hub away, from what the hub told of last. `fields` are those whose values are wanted. Raises
        BadInputError for a query that can't be read.

        >>> for found in client.find("name = helmet and number >= 1", fields=["size"]):
        ...     print(found.ref, found.channels)
        acme/helmet:1 ('stable',)
        """
        return findings(self._ask(self._jobs.Find, asking.find(query, sort, limit, fields)))

    # --- holding on to it, and hearing of what is new ---

    @contextmanager
    def acquire(self, ref: str, wait: float | None = None, *, holder: str = "") -> Iterator[Model]:
        """What is active, held until the block ends: it stays on the disk whatever the channel is switched to.

        `wait` as in `get`; `holder` is a word for people who ask why a version stays. The hold outlives restarts of the
        agent. Raises NotFoundError, InvalidNameError.

        >>> with client.acquire("acme/helmet@stable") as model:
        ...     weights = (model.path / "weights.bin").read_bytes()
        """
        grip = self._grip(ref, seconds_of(wait), holder, once=True)
        try:
            yield grip.first(seconds_of(wait))
        finally:
            grip.release()

    def follow(self, ref: str, *, holder: str = "") -> Generator[Model, None, None]:
        """What is active now, and then each switch, for ever: each is held until the one after it was asked for.

        So the model in use stays while the next one is loaded. As in `watch`, restarts of the agent are waited out, and
        so is a model that is not here yet. Close the iterator, or the client, to let go.

        >>> for model in client.follow("acme/helmet@stable"):
        ...     print("load", model.number)
        ...     break
        load 1
        """
        holds: list[Grip] = []  # at most two: what is in use, and what is told of next
        told: Model | None = None
        try:
            while not self._closed.is_set():
                holds.append(self._grip(ref, inf, holder, also=told.number if told else 0))
                model = holds[-1].next()
                while len(holds) > 1:
                    holds.pop(0).release()
                while told is not None and (model.manifest, model.release) == (told.manifest, told.release):
                    model = holds[-1].next()
                told = model
                yield model
        except ModelsyncError:
            if not self._closed.is_set():
                raise
        finally:
            for hold in holds:
                hold.release()

    def watch(self, ref: str = "") -> Generator[Model, None, None]:
        """What is active now, and then each switch, for ever; empty for all channels. It holds nothing: see `follow`.

        Restarts of the agent are waited out, and nothing is told twice. A slow reader misses switches between, never
        the newest. A model that is not here yet is waited for. Ends when the client is closed. Raises InvalidNameError.

        >>> for model in client.watch("acme/helmet@stable"):
        ...     print(model.ref, model.number)
        ...     break
        acme/helmet@stable 1
        """
        last: dict[str, tuple[str, str]] = {}
        while not self._closed.is_set():
            heard = False
            try:
                call = self._jobs.Watch(jobs_pb2.WatchRequest(ref=ref), wait_for_ready=True, metadata=self._metadata)
            except ValueError:  # how grpc answers a call on a channel that was closed meanwhile
                return
            try:
                for event in call:
                    heard = True
                    model = model_of(event.active, event.previous)
                    if last.get(model.ref) != (model.manifest, model.release):
                        last[model.ref] = (model.manifest, model.release)
                        yield model
            except grpc.RpcError as error:
                if self._closed.is_set():
                    return
                if not is_gone(error):
                    raise error_of(error, self.target) from error
            finally:
                call.cancel()  # for a reader that went away in the middle
            if not heard:
                self._closed.wait(PAUSE)

    # --- saying whether it works ---

    def confirm(self, model: Model | str, works: bool = True, why: str = "", *, number: int = 0) -> bool:
        """Says whether a version works; one that does not gives way to the one before it, and the hub learns `why`.

        `model` is what was got or acquired, or a channel with the release's `number`. False when nobody waited for it:
        the channel has no trial, or is somewhere else by now.

        >>> client.confirm(model, works=True)
        False
        """
        return self._ask(self._jobs.Confirm, asking.confirm(model, works, why, number)).counted

    def retry(self, ref: str) -> int:
        """Lets a version be tried again that failed here; its number, 0 when nothing had failed.

        >>> client.retry("acme/helmet@stable")
        0
        """
        return self._ask(self._jobs.Retry, jobs_pb2.RetryRequest(ref=ref)).number

    # --- the way up ---

    def publish(
        self,
        path: str | os.PathLike[str],
        model: str,
        *,
        parents: Iterable[Parent] = (),
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        note: str = "",
        wait: bool = True,
        progress: Watcher | None = None,
    ) -> Published:
        """A folder or file of this machine becomes a release of "namespace/name", or also of "…@channel", moved to it.

        It is stored on this machine first: once `progress` was told "stored", or this returned, the path may be deleted
        and the machine restarted. With `wait` it returns when the hub has it, however long that takes; without, when it
        is stored. What resembles one of `parents` travels as the difference. Raises BadInputError, NotFoundError,
        SourceChangedError, DiskFullError, and what the hub refuses it with.

        >>> done = client.publish(trained, "acme/helmet", parents=[model], metrics={"map": 0.71}, wait=False)
        >>> done.model, done.number  # the hub gives the number
        ('acme/helmet', 0)
        """
        request = asking.publish(path, model, parents=parents, labels=labels, metrics=metrics, note=note, wait=wait)
        publishing = Publishing(model)
        call = self._jobs.Publish(request, metadata=self._metadata)
        try:
            for message in call:
                step = publishing.hear(message)
                if step is not None and progress is not None:
                    progress(step)
        except grpc.RpcError as error:
            raise publishing.ended(error_of(error, self.target)) from error
        finally:
            call.cancel()  # for a `progress` that raised
        if publishing.result is None:
            raise no_agent(self.target)
        return publishing.result

    def record(
        self,
        model: Model | str,
        metrics: Mapping[str, float],
        *,
        dataset: str = "",
        stage: str = "",
        at: float = 0.0,
        variant: str | None = None,
    ) -> int:
        """Keeps numbers about a release and brings them to the hub, once each; the release's number.

        `model` is what was got, "namespace/name:number", or a channel for what is active there. `at` is when they were
        measured, seconds since 1970 UTC, 0 for now. Where the release comes in several forms they are about the one
        that was got or is active, and with a number about the release as a whole; `variant` says another, "" for the
        whole. Raises NotFoundError, BadInputError, DiskError.

        >>> client.record(model, {"accuracy": 0.93}, dataset="line-3", stage="eval")
        1
        """
        request = asking.record(model, metrics, dataset=dataset, stage=stage, at=at, variant=variant)
        return self._ask(self._jobs.Record, request).number

    def outbox(self) -> Outbox:
        """What waits to be published, what is on its way, and what was refused.

        >>> [(item.model, item.total, item.refused) for item in client.outbox().items]
        [('acme/helmet', 1000, False)]
        """
        return outbox_of(self._ask(self._jobs.ListOutbox, jobs_pb2.ListOutboxRequest()))

    def withdraw(self, id: str) -> bool:  # noqa: A002
        """Takes something out of the outbox. True when it was being sent: the hub may have published it just then.

        Raises NotFoundError, ConflictError when the hub is known to have it.

        >>> client.withdraw(done.id)
        False
        """
        return self._ask(self._jobs.Withdraw, jobs_pb2.WithdrawRequest(id=id)).on_its_way

    def hasten(self) -> None:
        """Tries at once what waits in the outbox, also what was refused.

        >>> client.hasten()
        """
        self._ask(self._jobs.Hasten, jobs_pb2.HastenRequest())

    # --- the connection ---

    def close(self) -> None:
        """Hangs up; watches end, and what is held is let go."""
        self._closed.set()
        self._channel.close()

    def _ask(self, method: Callable[..., T], request: object) -> T:
        try:
            return method(request, timeout=REPLY_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error

    def _grip(self, ref: str, wait: float, holder: str, *, once: bool = False, also: int = 0) -> Grip:
        request = jobs_pb2.AcquireRequest(ref=ref, wait_seconds=wait, holder=holder, once=once, also=also)
        return Grip(begin_with(self._jobs.Acquire, self._metadata), request, self.target)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
