"""`modelsyncctl derive`: a real model's other form, made once, published with its origin, against a real hub."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--as-variant", "x"), "not said what to do"),
        (("--recipe", "onnx-int8"), "either as a variant or as a model"),
        (("--recipe", "onnx-int9", "--as-variant", "x"), "did you mean"),
        (("--recipe", "cast:dtipe=bf16", "--as-variant", "x"), "did you mean dtype"),
        (("--as-variant", "x", "--", "true", "{in}"), "where it writes"),
        (("--recipe", "cast", "--as", "derive/other:3"), "the hub gives the number"),
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


@pytest.fixture
def watching(ctl: Ctl, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = ctl.command("derive", "derive/watched", "--watch", "--as-variant", "labels")
    with (tmp_path / "watch.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--", "cp", "{in}/labels.json", "{out}/"], stdout=log, stderr=log, text=True
        )
        yield process
        process.kill()
        process.wait()


@pytest.mark.slow
def test_each_new_release_gets_its_variant_while_somebody_watches(
    ctl: Ctl, watching: subprocess.Popen[str], tmp_path: Path
) -> None:
    log = tmp_path / "watch.log"
    until(lambda: "Watching" in log.read_text(), "it watches")
    for seed in (1, 2):
        ctl.json("push", str(onnx_folder(tmp_path / f"o{seed}", seed)), "derive/watched")
        made = f"Published derive/watched:{2 * seed}"
        until(partial(_says, log, made), f"release {seed} is derived")
    shown = ctl.json("show", "derive/watched:4")
    assert [one["name"] for one in shown["variants"]] == ["default", "labels"]
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 130
