"""The only place that runs a command with a model in hand: begins it, tells it of switches, and says whether it works.

The version that the command uses is held as long as it runs, and the one before it until the next has begun.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from modelsyncd.client.model import Model
from modelsyncd.errors import BadInputError, ModelsyncError, first_of

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_PASSED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # which a terminal sends to the command, too


@dataclass(frozen=True, slots=True)
class Policy:
    """What is run, and how it learns of a switch; times in seconds.

    With `signal` it gets that at a switch, else it is ended and begun anew. With `confirm_after` it is told to the
    agent that a version works once the command has run that long with it, or has ended well, and else that it does not.
    """

    command: tuple[str, ...]
    signal: signal.Signals | None = None
    grace: float = 10.0
    confirm_after: float | None = None


@dataclass(frozen=True, slots=True)
class _Ended:
    process: asyncio.subprocess.Process
    code: int


Follow = Callable[[], AsyncGenerator[Model, None]]
Confirm = Callable[[Model, bool, str], Awaitable[bool]]


class Supervised:
    """One command for as long as it is wanted."""

    def __init__(self, policy: Policy, follow: Follow, confirm: Confirm, say: Callable[[str], None]) -> None:
        """`say` is told what a person may want to know."""
        self._policy = policy
        self._follow = follow
        self._confirm = confirm
        self._say = say
        self._events: asyncio.Queue[Model | _Ended | signal.Signals] = asyncio.Queue()
        self._begun = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """The command's exit code, as a shell says it. Raises BadInputError when it can't be run, and the agent's."""
        failure: ModelsyncError | None = None
        code = 0
        loop = asyncio.get_running_loop()
        for number in (*_ENDING, *_PASSED):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._hear())
                try:
                    code = await self._attend(group)
                finally:
                    following.cancel()
                    self._kill()
        except* ModelsyncError as errors:
            failure = first_of(errors)
        finally:
            for number in (*_ENDING, *_PASSED):
                loop.remove_signal_handler(number)
        if failure is not None:
            raise failure
        return code

    async def _hear(self) -> None:
        """Asks for the next version only when the command has begun with the last one: until then both are held."""
        async with aclosing(self._follow()) as models:
            async for model in models:
                self._events.put_nowait(model)
                await self._begun.wait()
                self._begun.clear()

    async def _attend(self, group: asyncio.TaskGroup) -> int:
        model = await self._next()
        while isinstance(model, Model):
            process = await self._begin(model)
            group.create_task(self._await_end(process))
            self._begun.set()
            model = await self._beside(process, model)
        return model

    async def _next(self) -> Model | int:
        """The next version, or how we end when we are told to while there is none."""
        while True:
            match await self._events.get():
                case Model() as model:
                    return model
                case signal.Signals() as number:
                    return 128 + number
                case _Ended():
                    continue

    async def _beside(self, process: asyncio.subprocess.Process, model: Model) -> Model | int:
        """The version to begin anew with, or the exit code."""
        loop = asyncio.get_running_loop()
        after = self._policy.confirm_after
        proven_at = None if after is None else loop.time() + after
        while True:
            try:
                async with asyncio.timeout_at(proven_at):
                    event = await self._events.get()
            except TimeoutError:
                proven_at = None
                await self._tell(model, works=True)
                continue
            match event:
                case _Ended(ended, code) if ended is process:
                    return await self._ended(model, code, unproven=proven_at is not None)
                case Model():
                    self._say(f"{event.ref}: {model.number} gives way to {event.number}")
                    if self._policy.signal is None:
                        await self._stop(process, signal.SIGTERM)
                        return event
                    model = event
                    proven_at = None if after is None else loop.time() + after
                    _send(process, self._policy.signal)
                    self._begun.set()
                case signal.Signals():
                    return await self._stop(process, event)

    async def _ended(self, model: Model, code: int, *, unproven: bool) -> Model | int:
        if not unproven:
            return code
        counted = await self._tell(model, works=code == 0, why=f"{self._policy.command[0]} ended with {code}")
        if code == 0 or not counted:
            return code
        self._say(f"{model.ref}: {model.number} did not work ({code}); waiting for what takes its place")
        return await self._next()

    async def _tell(self, model: Model, *, works: bool, why: str = "") -> bool:
        try:
            return await self._confirm(model, works, "" if works else why)
        except ModelsyncError as error:
            self._say(f"{model.ref}: the agent did not take our word on {model.number}: {error.message}")
            return False

    async def _begin(self, model: Model) -> asyncio.subprocess.Process:
        words = {
            "{path}": str(model.path),
            "{channel_path}": str(model.channel_path),
            "{number}": str(model.number),
            "{model}": model.ref,
            "{variant}": model.variant,
        }
        environment = {
            "MODELSYNCD_MODEL": model.ref,
            "MODELSYNCD_MODEL_PATH": str(model.path),
            "MODELSYNCD_MODEL_NUMBER": str(model.number),
            "MODELSYNCD_MODEL_VARIANT": model.variant,
        }
        command = [_filled(argument, words) for argument in self._policy.command]
        try:
            self._process = await asyncio.create_subprocess_exec(*command, env=os.environ | environment)
        except OSError as error:
            raise BadInputError(f"can't run {command[0]!r}: {error.strerror}") from error
        self._say(f"{model.ref}: {command[0]} runs with {model.number}")
        return self._process

    async def _await_end(self, process: asyncio.subprocess.Process) -> None:
        self._events.put_nowait(_Ended(process, _shell_code(await process.wait())))

    async def _stop(self, process: asyncio.subprocess.Process, number: signal.Signals) -> int:
        """Asks it to end, and ends it when it has not after the grace; its exit code."""
        if not (number in _FROM_TERMINAL and sys.stdin.isatty()):
            _send(process, number)
        try:
            async with asyncio.timeout(self._policy.grace):
                return _shell_code(await process.wait())
        except TimeoutError:
            _send(process, signal.SIGKILL)
            return _shell_code(await process.wait())

    def _signalled(self, number: signal.Signals) -> None:
        if number in _ENDING:
            self._events.put_nowait(number)
        elif self._process is not None:
            _send(self._process, number)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            _send(self._process, signal.SIGKILL)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        process.send_signal(number)


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _filled(argument: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        argument = argument.replace(word, value)
    return argument


def signal_of(name: str) -> signal.Signals:
    """A signal by its name or number: "HUP", "SIGHUP" or "1". Raises BadInputError."""
    wanted = name.upper()
    known: Sequence[signal.Signals] = list(signal.Signals)
    for one in known:
        if wanted in (one.name, one.name.removeprefix("SIG"), str(int(one))):
            return one
    raise BadInputError(f"there is no signal {name[:40]!r}", hint="as in HUP or USR1")
