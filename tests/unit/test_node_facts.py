"""What a node finds out about itself, and what its settings say instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.facts import NodeFacts, check_own, found
from edge_agent.settings import Settings
from modelsyncd.daemon.config import load
from modelsyncd.errors import BadInputError


def machine(root: Path, files: dict[str, str]) -> Path:
    """A file system with these files of the kernel's."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_memory_is_what_the_machine_has_whatever_the_agents_own_group_may_have_of_it(tmp_path: Path) -> None:
    limits = {
        "sys/fs/cgroup/memory.max": f"{256 << 20}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{256 << 20}\n",
    }
    root = machine(tmp_path, limits | {"proc/meminfo": "MemTotal:        8000000 kB\nMemFree:         100 kB\n"})
    assert found(root)["memory"] == (str(8_000_000 << 10),)
    assert "memory" not in found(machine(tmp_path / "unsaid", limits))


def test_devices_say_what_accelerators_there_are(tmp_path: Path) -> None:
    assert "accelerators" not in found(machine(tmp_path / "none", {"dev/null": ""}))
    root = machine(tmp_path / "two", {"dev/nvidia0": "", "dev/nvidia1": "", "dev/apex_0": "", "dev/nvidiactl": ""})
    assert found(root)["accelerators"] == ("cuda", "edgetpu")


def test_a_processors_flags_and_a_boards_name_are_read_on_any_architecture(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor : 0\nFeatures : fp asimd asimddp crc32\n",
        "proc/device-tree/model": "Some Board 4\0",
    }
    said = found(machine(tmp_path, files))
    assert said["cpu-features"] == ("asimd", "asimddp")
    assert said["board"] == ("Some Board 4",)


def test_an_architecture_has_both_of_its_names() -> None:
    assert set(found()["arch"]) in ({"x86_64", "amd64"}, {"aarch64", "arm64"})


def test_a_runtime_that_is_installed_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemError('nobody may import this')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "torch" in found()["runtimes"]
    assert "torch" not in sys.modules


def test_finding_out_loads_nothing_heavy() -> None:
    code = "import sys; import edge_agent.facts as f; f.found(); print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"numpy", "onnxruntime", "importlib.metadata", "email"} & set(told)


def test_settings_stand_in_place_of_what_was_found_and_an_empty_list_takes_it_away(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        'data = "d"\nhub = "h:1"\n[facts]\nruntimes = ["onnxruntime"]\nboard = []\ncamera = ["rgb", "ir"]\n'
    )
    own = load(Settings, file, {}).facts
    facts = NodeFacts(own, lambda: {"board": ("b",), "runtimes": ("torch",), "os": ("linux",)})
    said = {"runtimes": ("onnxruntime",), "os": ("linux",), "camera": ("rgb", "ir")}
    assert facts.look() == said
    assert facts.known == said


@pytest.mark.parametrize("own", [{"": ["a"]}, {"k": ["v"] * 64}, {"k" * 257: ["v"]}, {"k": ["v" * 257]}])
def test_facts_that_nobody_could_be_told_of_are_refused_at_the_start(own: dict[str, list[str]]) -> None:
    with pytest.raises(BadInputError):
        check_own(own)
