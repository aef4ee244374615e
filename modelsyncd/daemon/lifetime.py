"""The only place where a program lives and dies: signals, words to systemd, the last error, the exit code.

    sys.exit(run("modelsync-agent", main))

`main(lifetime)` says `lifetime.ready()` when it serves and returns soon after `lifetime.stopping` is set. It is
cancelled when it takes longer than its grace, and on a second signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError
from modelsyncd.escapes import harmless

GRACE = 20.0  # seconds to stop in; below systemd's TimeoutStopSec in systemd/*.service
INTERRUPTED = 130  # what shells expect after Ctrl-C
_BUG = 70  # EX_SOFTWARE of sysexits(3)


@dataclass(frozen=True, slots=True)
class Supervisor:
    """systemd, or nobody: sd_notify(3) in its whole length."""

    address: str = ""
    watchdog: float = 0.0  # seconds after which silence counts as death; 0 for never

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Supervisor:
        """As the environment says; an inherited watchdog that is meant for our parent is left alone."""
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        watchdog = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog)

    def tell(self, words: str) -> None:
        """Says one or more lines of VARIABLE=value. A supervisor that is gone is no reason to stop."""
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(words.encode(), address)
            except OSError as error:
                Log().warning("supervisor.deaf", why=error.strerror)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What a program's main function knows about its own end."""

    supervisor: Supervisor
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    reloading: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by SIGHUP; who acts on it clears it."""

    def ready(self, status: str = "") -> None:
        """We serve; `status` is a sentence for `systemctl status`."""
        self.supervisor.tell(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Another sentence for `systemctl status`."""
        self.supervisor.tell(f"STATUS={status}")


Main = Callable[[Lifetime], Awaitable[None]]


def run(program: str, main: Main, grace: float = GRACE) -> int:
    """Runs `main` until it returns and gives the exit code; a last error is told to people on standard error.

    `grace` is the time in seconds that `main` has to return after the first signal to stop.
    """
    try:
        asyncio.run(_live(main, Supervisor.of(os.environ), grace))
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModelsyncError as error:
        sys.stderr.write(explain(program, error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost frame: nobody above could say more
        Log().failure("program.broken", error)
        sys.stderr.write(f"{program}: stopped by a fault of its own; the lines above are for a bug report\n")
        return _BUG
    return 0


def explain(program: str, error: ModelsyncError) -> str:
    """An error in words for people: what happened, what is safe, what to do next."""
    lines = [f"{program}: {error.message}"]
    if error.safe:
        lines.append(f"  safe: {error.safe}")
    if error.hint:
        lines.append(f"  next: {error.hint}")
    return harmless("\n".join(lines)) + "\n"


async def _live(main: Main, supervisor: Supervisor, grace: float) -> None:
    lifetime = Lifetime(supervisor)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as group:
            patting = group.create_task(_pat_watchdog(supervisor))
            living = group.create_task(_only(main, lifetime))

            def stop() -> None:
                if lifetime.stopping.is_set():
                    living.cancel()  # a second signal: whoever waits is in a hurry
                    return
                supervisor.tell("STOPPING=1")
                lifetime.stopping.set()
                deadline.reschedule(loop.time() + grace)

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            loop.add_signal_handler(signal.SIGHUP, lifetime.reloading.set)
            await asyncio.wait([living])
            patting.cancel()
    except TimeoutError:
        if not deadline.expired():
            raise
        Log().warning("program.cut-short", grace=grace)
    except BaseExceptionGroup as errors:
        raise _worst(errors) from errors
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _only(main: Main, lifetime: Lifetime) -> None:
    await main(lifetime)


async def _pat_watchdog(supervisor: Supervisor) -> None:
    # Half the time, as sd_watchdog_enabled(3) advises. It beats only while the event loop turns: that is its proof.
    while supervisor.watchdog:
        supervisor.tell("WATCHDOG=1")
        await asyncio.sleep(supervisor.watchdog / 2)


def _worst(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to speak of: one without a name is a bug and must not hide behind one that has a name."""
    found: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            found.append(error)
    return min(found, key=lambda error: isinstance(error, ModelsyncError))
