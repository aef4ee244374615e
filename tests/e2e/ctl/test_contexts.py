"""`modelsyncctl login` and `contexts`, and how a hub is chosen."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from tests.e2e.processes import BIN, Ctl, HubProgram


def person(tmp_path: Path) -> dict[str, str]:
    """The environment of a person whose configuration is in tmp_path."""
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "modelsyncctl"), *arguments],
        env=person(tmp_path) | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_login_keeps_a_context_for_its_owner_only_and_uses_it(hub: HubProgram, tmp_path: Path) -> None:
    done = run(tmp_path, "login", str(hub.context), "--name", "work")
    assert done.returncode == 0, done.stderr
    assert f"{hub.address} answers" in done.stdout
    kept = tmp_path / "config" / "modelsyncd" / "contexts" / "work.toml"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert run(tmp_path, "list").returncode == 0
    (known,) = json.loads(run(tmp_path, "contexts", "--json").stdout)["contexts"]
    assert (known["name"], known["hub"], known["in_use"]) == ("work", hub.address, True)


def test_another_context_can_be_used_and_a_mistyped_one_gets_the_nearest(hub: HubProgram, tmp_path: Path) -> None:
    run(tmp_path, "login", str(hub.context), "--name", "one")
    run(tmp_path, "login", str(hub.context), "--name", "two")
    found = json.loads(run(tmp_path, "contexts", "--use", "one", "--json").stdout)["contexts"]
    assert [(one["name"], one["in_use"]) for one in found] == [("one", True), ("two", False)]
    failed = run(tmp_path, "contexts", "--use", "twoo")
    assert failed.returncode == 3
    assert "did you mean two" in failed.stderr


def test_a_context_whose_hub_does_not_answer_is_not_kept(hub: HubProgram, tmp_path: Path) -> None:
    done = run(tmp_path, "login", str(hub.context), "--hub", "127.0.0.1:9")
    assert done.returncode == 6
    assert not (tmp_path / "config").exists()


def test_login_never_replaces_a_context_file_of_a_persons_own(hub: HubProgram, tmp_path: Path) -> None:
    own = tmp_path / "config" / "modelsyncd" / "context.toml"
    own.parent.mkdir(parents=True)
    own.write_text(hub.context.read_text())
    assert run(tmp_path, "list").returncode == 0
    assert run(tmp_path, "login", str(hub.context)).returncode == 5
    assert not own.is_symlink()


def test_without_a_context_one_is_told_how_to_get_one(tmp_path: Path) -> None:
    done = run(tmp_path, "list")
    assert done.returncode == 3
    assert "modelsyncctl login PATH_TO_admin.toml" in done.stderr


def test_the_environment_and_options_choose_the_hub(hub: HubProgram, tmp_path: Path) -> None:
    assert run(tmp_path, "list", MODELSYNCD_CONTEXT=str(hub.context)).returncode == 0
    away = run(tmp_path, "list", MODELSYNCD_CONTEXT=str(hub.context), MODELSYNCD_HUB="127.0.0.1:9")
    assert away.returncode == 6
    back = run(
        tmp_path, "--hub", hub.address, "list", MODELSYNCD_CONTEXT=str(hub.context), MODELSYNCD_HUB="127.0.0.1:9"
    )
    assert back.returncode == 0
    assert run(tmp_path, "list", "--hub", "nonsense", "--context", str(hub.context)).returncode == 2


def test_a_context_of_another_hub_is_refused(hub: HubProgram, own_hub: HubProgram) -> None:
    stranger = replace(own_hub.ctl, environment={"MODELSYNCD_HUB": hub.address})
    done = stranger.run("list")
    assert done.returncode in (4, 6)
    assert done.stderr.startswith("error: ")


def test_help_comes_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "push" in done.stdout
    assert time.monotonic() - began < 5


def test_a_reader_that_goes_away_is_no_traceback(hub: HubProgram) -> None:
    ctl: Ctl = hub.ctl
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(ctl.command('--help'))} | head -c 1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
