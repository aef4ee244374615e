"""`modelsyncctl derive`: a real model's other form, made once, published with its origin, against a real hub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.processes import Ctl, HubProgram
from tests.e2e.waiting import until

rng = np.random.default_rng(5)


def onnx_folder(folder: Path, seed: int = 1, width: int = 128) -> Path:
    """A small network of one layer."""
    weight = np.random.default_rng(seed).standard_normal((width, width)).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name in ("x", "y")]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "labels.json").write_text('["a"]')
    return folder


@pytest.fixture
def ctl(hub: HubProgram, tmp_path: Path) -> Ctl:
    return Ctl(hub.context, {"MODELSYNCD_CACHE": str(tmp_path / "cache")})


def answer(folder: Path, x: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.slow
def test_a_model_is_quantised_once_and_published_beside_its_other_form(ctl: Ctl, tmp_path: Path) -> None:
    model = "derive/once"
    ctl.json("push", str(onnx_folder(tmp_path / "origin")), model, "--variant", "fp32", "--label", "task=helmet")
    step = ("derive", model, "--recipe", "onnx-int8", "--as-variant", "int8", "--selector", "memory=<4GiB")
    done = ctl.json(*step)
    assert (done["parent"], done["number"], done["variant"], done["made"]) == (f"{model}:1", 2, "int8", True)
    assert done["bytes"] < 0.6 * done["bytes_before"]
    assert not (tmp_path / "cache" / "derive").exists() or not list((tmp_path / "cache" / "derive").rglob("*.onnx"))
    shown = ctl.json("show", f"{model}:2")
    selectors = {one["name"]: one["selector"] for one in shown["variants"]}
    assert selectors == {"fp32": {}, "int8": {"memory": "<4GiB"}}
    assert shown["labels"] == {"task": "helmet"}
    found = ctl.json("query", "recipe = onnx-int8 and namespace = derive")["releases"]
    assert [one["model"] for one in found] == [model]

    again = ctl.json(*("derive", f"{model}:1"), *step[2:])
    assert (again["number"], again["variant"], again["made"], again["seconds"]) == (2, "int8", False, 0.0)
    assert "nothing was done" in ctl.text(*("derive", f"{model}:1"), *step[2:])

    for name in ("fp32", "int8"):
        ctl.json("pull", f"{model}:2", str(tmp_path / name), "--variant", name)
    x = rng.standard_normal((1, 128)).astype(np.float32)
    exact, quantised = answer(tmp_path / "fp32", x), answer(tmp_path / "int8", x)
    assert np.abs(quantised - exact).max() < 0.1 * np.abs(exact).max()


def test_a_command_makes_a_release_of_its_own_with_its_parent(ctl: Ctl, tmp_path: Path) -> None:
    model = "derive/command"
    ctl.json("push", str(onnx_folder(tmp_path / "origin")), model)
    step = ("derive", model, "--as", "derive/labels@stable", "--", "cp", "{in}/labels.json", "{out}/")
    done = _json(ctl, *step)
    assert (done["model"], done["number"], done["made"], done["recipe"]) == ("derive/labels", 1, True, None)
    shown = ctl.json("show", "derive/labels@stable")
    assert shown["parents"] == [{"model": model, "number": 1, "role": "derived-by"}]
    assert [one["path"] for one in shown["contents"]] == ["labels.json"]
    assert _json(ctl, *step)["made"] is False
    assert "derive/labels:1" in ctl.text("lineage", f"{model}:1")


def _json(ctl: Ctl, *arguments: str) -> dict[str, object]:
    """With --json before the words of a command, which are the command's."""
    done = ctl.run("--json", *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_step_that_fails_publishes_nothing_and_says_what_its_process_said(ctl: Ctl, tmp_path: Path) -> None:
    model = "derive/fails"
    ctl.json("push", str(onnx_folder(tmp_path / "origin")), model)
    script = "import sys; print('it broke at layer 7', file=sys.stderr); sys.exit(3)  # {in} {out}"
    done = ctl.run("derive", model, "--as-variant", "x", "--", "python3", "-c", script)
    assert done.returncode == 2
    assert "it broke at layer 7" in done.stderr
    assert "nothing was published" in done.stderr
    nothing = ctl.run("derive", model, "--as-variant", "x", "--", "true", "{in}", "{out}")
    assert "made no files" in nothing.stderr
    assert len(ctl.json("history", model)["releases"]) == 1


def test_an_interrupted_step_publishes_nothing_and_what_was_fetched_is_there_the_next_time(
    ctl: Ctl, tmp_path: Path
) -> None:
    model = "derive/cut"
    ctl.json("push", str(onnx_folder(tmp_path / "origin")), model)
    script = f"stat -c %i {{in}}/model.onnx >> {tmp_path}/seen; cp {{in}}/labels.json {{out}}/"
    script += f"; test -e {tmp_path}/begun || {{ touch {tmp_path}/begun; sleep 1000; }}"
    step = ("derive", model, "--as-variant", "x", "--", "sh", "-c", script)
    first = subprocess.Popen(ctl.command(*step), stderr=subprocess.PIPE, text=True, env=os.environ | ctl.environment)
    until((tmp_path / "begun").exists, "the step has begun")
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "what was fetched is kept for the next try" in said
    (kept,) = (tmp_path / "cache" / "derive").rglob("model.onnx")
    assert len(ctl.json("history", model)["releases"]) == 1
    assert _json(ctl, *step)["made"] is True
    first_seen, second_seen = (tmp_path / "seen").read_text().split()
    assert first_seen == second_seen, "the file was fetched again"
    assert not kept.exists()


def test_a_killed_try_ends_its_step_and_what_outlives_even_that_writes_nothing_into_the_next_result(
    ctl: Ctl, tmp_path: Path
) -> None:
    model, marks = "derive/killed", tmp_path / "marks"
    marks.mkdir()
    ctl.json("push", str(onnx_folder(tmp_path / "origin")), model)
    outlives = f"touch {marks}/on; until test -e {marks}/again; do sleep 0.02; done"
    outlives += f"; echo late > {{out}}/late; touch {marks}/wrote"
    script = f"if mkdir {marks}/begun; then echo $$ > {marks}/pid; setsid sh -c '{outlives}' & sleep 1000; else"
    script += f" touch {marks}/again; until test -e {marks}/wrote; do sleep 0.02; done; cp {{in}}/labels.json {{out}}/"
    script += "; fi"
    step = ("derive", model, "--as", "derive/killed-labels", "--", "sh", "-c", script)
    first = subprocess.Popen(ctl.command(*step), env=os.environ | ctl.environment)
    until((marks / "on").exists, "the step has begun")
    first.kill()
    first.wait(60)
    step_pid = int((marks / "pid").read_text())
    until(lambda: not _runs(step_pid), "the step has ended")
    assert _json(ctl, *step)["made"] is True
    contents = ctl.json("show", "derive/killed-labels")["contents"]
    assert [one["path"] for one in contents] == ["labels.json"]
    (folder,) = (tmp_path / "cache" / "derive").iterdir()
    assert [path.name for path in folder.iterdir()] == ["lock"]


def _runs(pid: int) -> bool:
    """A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--as-variant", "x"), "not said what to do"),
        (("--recipe", "onnx-int8"), "either as a variant or as a model"),
        (("--recipe", "onnx-int9", "--as-variant", "x"), "did you mean"),
        (("--recipe", "cast:dtipe=bf16", "--as-variant", "x"), "did you mean dtype"),
        (("--as-variant", "x", "--", "true", "{in}"), "where it writes"),
        (("--recipe", "cast", "--as", "derive/other:3"), "the hub gives the number"),
        (("--recipe", "cast", "--as-variant", "x", "--watch", "--again"), "makes each form once"),
        (("--recipe", "cast", "--as", "derive/none", "--watch"), "without end"),
    ],
)
def test_a_mistake_is_told_before_anything_is_fetched(ctl: Ctl, arguments: tuple[str, ...], said: str) -> None:
    done = ctl.run("derive", "derive/none", *arguments)
    assert done.returncode in (2, 3)
    assert said in done.stderr


def test_the_recipes_of_this_machine_are_listed(ctl: Ctl) -> None:
    found = {one["name"]: one for one in ctl.json("recipes")["recipes"]}
    assert {"cast", "onnx-int8", "to-safetensors"} <= found.keys()
    assert found["cast"]["options"]["dtype"]
    assert "bf16" in ctl.text("recipes")


def _says(log: Path, text: str) -> bool:
    return text in log.read_text()


Watch = Callable[..., Path]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """watch(ctl, name, *arguments): where one who watches writes, from when nothing can be missed."""
    begun: list[subprocess.Popen[str]] = []

    def begin(ctl: Ctl, name: str, *arguments: str) -> Path:
        path = tmp_path / f"{name}.log"
        with path.open("w") as log:
            command = [*ctl.command("derive", *arguments[:1], "--watch"), *arguments[1:]]
            environment = os.environ | ctl.environment
            begun.append(subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment))
        until(partial(_says, path, "Watching"), f"{name} watches")
        return path

    yield begin
    for process in begun:
        process.send_signal(signal.SIGINT)
    assert [process.wait(60) for process in begun] == [130] * len(begun)


def test_each_new_release_gets_its_variant_while_somebody_watches_and_one_that_fails_is_told(
    ctl: Ctl, watch: Watch, tmp_path: Path
) -> None:
    model = "derive/watched"
    log = watch(ctl, "labels", model, "--as-variant", "labels", "--", "cp", "{in}/labels.json", "{out}/")
    ctl.json("push", str(onnx_folder(tmp_path / "o1", 1)), model)
    until(partial(_says, log, f"Published {model}:2"), "release 1 is derived")
    broken = onnx_folder(tmp_path / "o2", 2)
    (broken / "labels.json").unlink()
    ctl.json("push", str(broken), model)
    until(partial(_says, log, f"{model}:3: cp failed with exit code 1"), "release 3 fails")
    ctl.json("push", str(onnx_folder(tmp_path / "o3", 3)), model)
    until(partial(_says, log, f"Published {model}:5"), "release 4 is derived")
    shown = ctl.json("show", f"{model}:5")
    assert [one["name"] for one in shown["variants"]] == ["default", "labels"]
    assert shown["parents"] == [{"model": model, "number": 4, "role": "derived-by"}]


@pytest.mark.slow
def test_who_watches_again_finds_what_was_made_and_two_who_watch_end_with_one_release_that_has_both(
    own_hub: HubProgram, watch: Watch, tmp_path: Path
) -> None:
    """Each adds to the release that it saw, so what the other made has to be carried over, and is not made again."""
    ctl = Ctl(own_hub.context, {"MODELSYNCD_CACHE": str(tmp_path / "cache")})
    model, made = "derive/both", tmp_path / "made"
    ctl.json("push", str(onnx_folder(tmp_path / "origin")), model)
    for name in ("a", "b"):  # both of release 1: as if two had seen it at the same moment
        _json(ctl, "derive", f"{model}:1", "--as-variant", name, "--", *_noting(made, name))
    assert [one["name"] for one in ctl.json("show", model)["variants"]] == ["default", "b"]
    own_hub.stop()
    own_hub.restart()
    log = watch(ctl, "a", model, "--as-variant", "a", "--", *_noting(made, "a"))
    other = watch(ctl, "b", f"{model}:1", "--as-variant", "b", "--", *_noting(made, "b"))
    until(partial(_says, log, f"Published {model}:4 a"), "what a made is carried over")
    own_hub.stop()
    own_hub.restart()
    ctl.json("push", str(onnx_folder(tmp_path / "next", 2)), model)

    both = f"Published {model}:8 "  # by whoever was first with its own
    until(lambda: _says(log, both) or _says(other, both), "the next release gets both, too", seconds=90)
    assert {one["name"] for one in ctl.json("show", model)["variants"]} == {"default", "a", "b"}
    assert sorted(made.read_text().split()) == ["a", "a", "b", "b"], "made once for each of the two that were pushed"


def _noting(made: Path, name: str) -> list[str]:
    return ["sh", "-c", f"echo {name} >> {made}; cp {{in}}/labels.json {{out}}/{name}.json"]
