"""Hugging Face's own client, as it is published, reads from a node when HF_ENDPOINT names it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.publisher import weights
from tests.fakes.shown_node import ShownNode, shown_node

FILES = {"config.json": b'{"layers": 3}', "README.md": b"# helmet\n", "onnx/model.bin": weights(1, 1_500_000)}

_CLIENT = """
import json, sys
from pathlib import Path
import huggingface_hub as hub
seen = []
import httpx2 as httpx
def note(request): seen.append([request.method, request.url.path])
hub.set_client_factory(lambda: httpx.Client(event_hooks={"request": [note]}, follow_redirects=True, timeout=60))
try:
    told = eval(sys.argv[1])
except Exception as error:
    told = type(error).__name__
print(json.dumps({"told": told, "seen": seen}))
"""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ShownNode]:
    async with shown_node(tmp_path / "data") as served:
        yield served


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def client(node: ShownNode, home: Path, call: str) -> tuple[object, list[list[str]]]:
    """What the real client returns for a call, in a process and a cache of its own, and what it asked for."""

    def run() -> tuple[object, list[list[str]]]:
        environment = {
            "HF_ENDPOINT": f"http://{node.address}",
            "HF_HOME": str(home),
            "HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", _CLIENT, call],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return told["told"], told["seen"]

    return await asyncio.to_thread(run)


async def test_a_snapshot_is_the_version_and_comes_once(node: ShownNode, tmp_path: Path) -> None:
    version = node.put(1, FILES, "stable")
    folder, _ = await client(node, tmp_path / "home", "hub.snapshot_download('acme/helmet')")
    assert isinstance(folder, str)
    assert Path(folder).name == version.manifest.hex()[:40]
    assert read(Path(folder)) == FILES
    again, seen = await client(node, tmp_path / "home", "hub.snapshot_download('acme/helmet')")
    assert again == folder
    assert not [path for _, path in seen if "/resolve/" in path]


async def test_after_a_switch_only_what_changed_comes(node: ShownNode, tmp_path: Path) -> None:
    node.put(1, FILES, "stable")
    await client(node, tmp_path / "home", "hub.snapshot_download('acme/helmet')")
    node.put(2, {**FILES, "config.json": b'{"layers": 4}'}, "stable")
    folder, seen = await client(node, tmp_path / "home", "hub.snapshot_download('acme/helmet')")
    assert read(Path(str(folder)))["config.json"] == b'{"layers": 4}'
    assert {path.rpartition("/")[2] for method, path in seen if method == "GET" and "/resolve/" in path} == {
        "config.json"
    }


async def test_a_revision_is_a_channel_a_number_or_a_commit(node: ShownNode, tmp_path: Path) -> None:
    first = node.put(1, FILES, "stable")
    node.put(2, {"config.json": b"two"}, "canary")
    for revision, content in [
        ("canary", b"two"),
        ("2", b"two"),
        ("1", FILES["config.json"]),
        (first.manifest.hex()[:40], FILES["config.json"]),
    ]:
        call = f"hub.hf_hub_download('acme/helmet', 'config.json', revision='{revision}')"
        path, _ = await client(node, tmp_path / "home", call)
        assert list(read(Path(str(path)).parent).values()) == [content], revision


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("hub.hf_hub_download('acme/helmt', 'config.json')", "RepositoryNotFoundError"),
        ("hub.hf_hub_download('acme/helmet', 'config.json', revision='v9')", "RevisionNotFoundError"),
        ("hub.hf_hub_download('acme/helmet', 'model.onnx')", "RemoteEntryNotFoundError"),
        ("hub.file_exists('acme/helmet', 'model.onnx')", False),
        ("hub.file_exists('acme/helmet', 'config.json')", True),
        ("hub.HfApi().list_repo_files('acme/helmet')", sorted(FILES)),
        ("sorted(one.path for one in hub.HfApi().list_repo_tree('acme/helmet'))", ["README.md", "config.json", "onnx"]),
        ("[one.size for one in hub.HfApi().get_paths_info('acme/helmet', ['onnx/model.bin'])]", [1_500_000]),
        ("len(hub.HfFileSystem().open('acme/helmet/onnx/model.bin').read(100))", 100),
        ("hub.HfApi().model_info('acme/helmet', files_metadata=True).siblings[1].size", 13),
    ],
)
async def test_its_questions_are_answered_as_it_expects(
    node: ShownNode, tmp_path: Path, call: str, told: object
) -> None:
    node.put(1, FILES, "stable")
    assert (await client(node, tmp_path / "home", call))[0] == told
