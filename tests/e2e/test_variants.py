"""One release in two forms: two nodes, one promotion, and each runs the one that fits it with ONNX Runtime."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelsyncd.client import Client
from tests.e2e.fleet import Standing, channel_path, standing, until_active, until_fault
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import PATIENCE, until
from tests.fakes.onnx_models import accuracy, write_fp32, write_int8


def agent(hub: HubProgram, folder: Path, name: str, *labels: str, facts: str = "") -> AgentProgram:
    """An agent that does not run yet, with these labels and facts of its settings."""
    made = AgentProgram.invited(hub, name, folder / name, *labels)
    settings = folder / f"{name}.toml"
    settings.write_text(f"[facts]\n{facts}\n")
    made.command += ["--config", str(settings)]
    return made


def until_variant(hub: HubProgram, node: AgentProgram, ref: str, number: int, variant: str) -> Standing:
    """The standing, once the node has told the hub that this variant of the release is active."""

    def look() -> Standing | None:
        found = standing(hub, node.name, ref)
        wanted = (number, variant, "active")
        return found if found and (found["active"], found["active_variant"], found["phase"]) == wanted else None

    return until(look, f"{node.name} has {ref} at {number} as {variant}")


def record(hub: HubProgram, node: AgentProgram, ref: str) -> float:
    """What a job on the node measures with what it was given."""
    measured = accuracy(channel_path(node, ref) / "model.onnx")
    hub.ctl.json("record", ref, f"accuracy={measured}", "--dataset", "held-out", "--socket", f"{node.data}/agent.sock")
    return measured


@pytest.mark.slow
def test_one_promotion_gives_each_node_its_own_variant_and_it_runs_there(hub: HubProgram, tmp_path: Path) -> None:
    ref = "variants/helmet@stable"
    full = write_fp32(tmp_path / "fp32")
    small = write_int8(tmp_path / "int8", full)
    large = agent(hub, tmp_path, "variants-large", "tier=large")
    tiny = agent(hub, tmp_path, "variants-tiny", "tier=tiny", facts='memory = ["536870912"]')
    for node in (large, tiny):
        node.start()
    try:
        for node in (large, tiny):
            hub.ctl.json("assign", ref, "--node", node.name)
        pushed = hub.ctl.json(
            *("push", str(full), "variants/helmet", "--variant", "fp32", "--also", f"int8={small}"),
            *("--selector", "int8:memory=<1GiB"),
        )
        assert (pushed["number"], pushed["created"]) == (1, True)
        hub.ctl.json("promote", "variants/helmet:1", "stable")
        until_variant(hub, large, ref, 1, "fp32")
        until_variant(hub, tiny, ref, 1, "int8")
        for node, origin in ((large, full), (tiny, small)):
            path = channel_path(node, ref) / "model.onnx"
            assert path.read_bytes() == (origin / "model.onnx").read_bytes()
        figures = {"fp32": record(hub, large, ref), "int8": record(hub, tiny, ref)}
        assert all(0.7 < figure < 1.0 for figure in figures.values())
        assert abs(figures["fp32"] - figures["int8"]) < 0.02

        def recorded() -> dict[str, float] | None:
            numbers = hub.ctl.json("show", "variants/helmet:1")["recorded"]
            found = {one["variant"]: one["value"] for one in numbers if one["name"] == "accuracy"}
            return found if found == figures else None

        until(recorded, "the hub has what was measured of both")
        page = hub.ctl.text("show", "variants/helmet:1")
        rows = {line.split()[0]: line for line in page.splitlines() if line.startswith(("fp32 ", "int8 "))}
        assert "memory=<1GiB" in rows["int8"]
        assert all(f"{figures[name]:.6g}" in rows[name] for name in figures)
        sizes = {one["name"]: one["bytes"] for one in hub.ctl.json("show", "variants/helmet:1")["variants"]}
        assert sizes["int8"] < sizes["fp32"] / 2

        # An operator's label counts before what the node finds out: the same number, and another form of it.
        with Client(tiny.data / "agent.sock") as client, ThreadPoolExecutor(1) as job:
            models = client.follow(ref)
            first = next(models)
            assert (first.variant, first.forms) == ("int8", 2)
            assert first.path.read_bytes() == (small / "model.onnx").read_bytes()
            loading = job.submit(next, models)
            hub.ctl.json("node", "label", tiny.name, "memory=64GiB")
            try:
                told = loading.result(PATIENCE)
            finally:
                client.close()  # ends what waits for a switch that never comes
        assert (told.number, told.variant, accuracy(told.path)) == (1, "fp32", figures["fp32"])
        here = ("--socket", f"{tiny.data}/agent.sock")
        assert "1 as fp32" in hub.ctl.text("local", "show", ref, *here)
        assert {one["variant"] for one in hub.ctl.json("local", "show", ref, *here)["versions"]} == {"fp32", "int8"}
        assert "fp32" in hub.ctl.text("local", "list", *here)
        hub.ctl.text("run", *here, ref, "--", "sh", "-c", 'test "{variant} $MODELSYNCD_MODEL_VARIANT" = "fp32 fp32"')
        until_variant(hub, tiny, ref, 1, "fp32")
        assert (channel_path(tiny, ref) / "model.onnx").read_bytes() == (full / "model.onnx").read_bytes()
        held = [path for path in (tiny.data / "models/variants/helmet/versions").glob("1-*") if path.is_dir()]
        assert len(held) == 2  # of one number
    finally:
        for node in (large, tiny):
            node.stop()


@pytest.mark.slow
def test_a_node_that_nothing_fits_keeps_what_it_has_until_something_does(hub: HubProgram, tmp_path: Path) -> None:
    ref = "variants/vest@stable"
    for name, content in (("plain", b"plain"), ("trt", b"for an accelerator"), ("cpu", b"for processors")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(content * 10_000)
    node = agent(hub, tmp_path, "variants-bare", facts='accelerators = []\nruntimes = ["onnxruntime"]')
    node.start()
    try:
        hub.ctl.json("push", str(tmp_path / "plain"), "variants/vest", "--channel", "stable")
        hub.ctl.json("assign", ref, "--node", node.name)
        until_active(node, ref, 1)
        trt = ("--variant", "trt", "--selector", "accelerators=cuda|rocm")
        hub.ctl.json("push", str(tmp_path / "trt"), ref, *trt)
        place = until_fault(hub, node, ref, "no-variant")
        assert (place["phase"], place["active"], place["desired"], place["settled"]) == ("refused", 1, 2, False)
        assert "trt: accelerators is not known, not cuda|rocm" in place["error"]["message"]
        (block,) = hub.ctl.json("why", node.name, ref)["blocked"]
        assert block["kind"] == "no-variant"
        assert "--add-to variants/vest:2" in block["do"]
        assert (channel_path(node, ref) / "model.bin").read_bytes() == b"plain" * 10_000
        assert hub.ctl.error(5, "plan", "variants/vest:2", "--node", node.name)["code"] == "no-variant"

        cpu = ("--variant", "cpu", "--selector", "runtimes=onnxruntime", "--add-to", "variants/vest:2")
        added = hub.ctl.json("push", str(tmp_path / "cpu"), ref, *cpu)
        assert (added["number"], added["kept"]) == (3, ["trt"])
        until_variant(hub, node, ref, 3, "cpu")
        assert hub.ctl.json("plan", "variants/vest:3", "--node", node.name)["variant"] == "cpu"
        facts = hub.ctl.json("node", "show", node.name)["facts"]
        assert facts["runtimes"] == ["onnxruntime"]
        assert "accelerators" not in facts

        # Facts change with the node: it is told of another variant as soon as it is back.
        node.stop()
        Path(node.command[-1]).write_text(f"[facts]\naccelerators = {json.dumps(['cuda'])}\nruntimes = []\n")
        node.start()
        until_variant(hub, node, ref, 3, "trt")
        hub.ctl.json("pull", "variants/vest:3", str(tmp_path / "out"), "--variant", "cpu")
        assert (tmp_path / "out" / "model.bin").read_bytes() == b"for processors" * 10_000
        found = hub.ctl.json("diff", "variants/vest:3", "variants/vest:3", "--variant", "trt", "--with", "cpu")
        assert found["files"]["changed"] == ["model.bin"]
    finally:
        node.stop()
