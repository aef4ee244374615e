"""The units for systemd and the manifests for Kubernetes are what those programs accept, and locked down."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from cloud_hub import app as hub_program
from edge_agent import flags as agent_flags
from modelsyncd.daemon.lifetime import GRACE

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
KUBERNETES = "1.30.0"
EXPOSURE = 1.5  # of 10, by `systemd-analyze security`; what remains is that it has the network

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy whose program exists on this machine, because systemd looks."""
    original: Path = request.param
    copy = tmp_path / original.name
    copy.write_text(re.sub(r"/usr/bin/modelsync\S*", shutil.which("true") or "", original.read_text()))
    return copy


def test_there_is_a_unit_for_each_side() -> None:
    assert [path.stem for path in UNITS] == ["modelsync-agent", "modelsync-hub"]


@systemd
def test_systemd_has_nothing_to_say_about_a_unit(unit: Path) -> None:
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout + said.stderr == ""


@systemd
def test_a_unit_is_exposed_to_little(unit: Path) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", said.stdout)
    assert found is not None
    assert float(found[1]) <= EXPOSURE


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_watched_and_stops_later_than_the_program_gives_up(unit: Path) -> None:
    text = unit.read_text()
    assert "Type=notify\n" in text
    assert "WatchdogSec=" in text
    assert int(re.findall(r"TimeoutStopSec=(\d+)s", text)[0]) > GRACE


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_program_of_a_unit_knows_every_flag_that_it_is_given(unit: Path, tmp_path: Path) -> None:
    command = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)[0].split()
    accept(command, tmp_path)


def accept(command: list[str], tmp_path: Path) -> None:
    """Lets the program read its flags, with an empty settings file."""
    empty = tmp_path / "empty.toml"
    empty.touch()
    arguments = [re.sub(r"/etc/modelsync/\w+\.toml", str(empty), word) for word in command[1:]]
    match Path(command[0]).name:
        case "modelsync-hub":
            assert str(hub_program.read_settings(arguments).data).startswith("/")
        case "modelsync-agent":
            assert agent_flags.parse(arguments).verb == "run"
        case other:
            pytest.fail(f"no program of ours: {other}")


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed here")
def test_every_user_and_group_of_the_units_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", ROOT / "systemd" / "modelsync.sysusers.conf"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    for kind, file in (("User", "passwd"), ("Group", "group")):
        made = {line.split(":")[0] for line in (tmp_path / "etc" / file).read_text().splitlines()}
        wanted = {name for unit in UNITS for name in re.findall(rf"^{kind}=(\S+)$", unit.read_text(), re.MULTILINE)}
        assert wanted
        assert wanted <= made


def documents() -> Iterator[tuple[str, Mapping[str, object]]]:
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield f"{path.name}:{document['kind']}", document


DOCUMENTS = dict(documents())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_kubernetes_accepts_a_manifest_and_knows_each_of_its_fields(name: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], KUBERNETES, strict=True)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.endswith((":Deployment", ":DaemonSet"))])
def test_a_container_runs_as_nobody_special_and_may_write_to_its_volumes_only(name: str) -> None:
    pod = _pod(DOCUMENTS[name])
    assert _of(pod, "securityContext", "runAsNonRoot") is True
    assert _of(pod, "securityContext", "seccompProfile", "type") == "RuntimeDefault"
    assert pod["automountServiceAccountToken"] is False
    for container in _containers(pod):
        assert _of(container, "securityContext", "readOnlyRootFilesystem") is True
        assert _of(container, "securityContext", "allowPrivilegeEscalation") is False
        assert _of(container, "securityContext", "capabilities", "drop") == ["ALL"]
        assert _of(container, "resources", "limits", "memory")
        assert _of(container, "livenessProbe")


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.endswith((":Deployment", ":DaemonSet"))])
def test_the_program_of_a_container_knows_every_flag_that_it_is_given(name: str, tmp_path: Path) -> None:
    for container in _containers(_pod(DOCUMENTS[name])):
        command = container["command"]
        assert isinstance(command, list)
        accept(command, tmp_path)


def _containers(pod: Mapping[str, object]) -> list[Mapping[str, object]]:
    containers = pod["containers"]
    assert isinstance(containers, list)
    return containers


def _pod(document: Mapping[str, object]) -> Mapping[str, object]:
    pod = _of(document, "spec", "template", "spec")
    assert isinstance(pod, Mapping)
    return pod


def _of(value: object, *path: str) -> object:
    for name in path:
        assert isinstance(value, Mapping)
        value = value[name]
    return value
