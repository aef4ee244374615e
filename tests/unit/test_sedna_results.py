"""What a worker of Sedna calls a model is found on this machine, and only what may be published is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.sedna.jobs import Job, understand
from edge_agent.sedna.results import local_path, publishable
from edge_agent.sedna.settings import JobSettings
from modelsyncd.errors import BadInputError, NotFoundError, RefusedError


def job(**settings: object) -> Job:
    return understand("default/helmet", JobSettings(model="acme/helmet", **settings), Path("/data"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/x", "/srv/x"),
        ("file:///srv/x", "/srv/x"),
        ("/output/1/model.pb", "/srv/out/1/model.pb"),
        ("/output/deep/model.pb", "/deep/model.pb"),
        ("/outputs/x", "/outputs/x"),
    ],
)
def test_a_folder_of_a_container_is_found_here(url: str, path: str) -> None:
    found = job(paths=("/output=/srv/out", "/output/deep=/deep"))
    assert local_path(found, url) == Path(path)


@pytest.mark.parametrize("url", ["", "x", "s3://bucket/x", "http://h/x", "/a/../b", "/a\0b", "base/x", "file://x"])
def test_what_is_no_path_here_is_refused(url: str) -> None:
    with pytest.raises(BadInputError):
        local_path(job(), url)


def test_only_what_lies_in_an_allowed_folder_is_published(tmp_path: Path) -> None:
    allowed, secret = tmp_path / "out", tmp_path / "secret"
    (allowed / "1").mkdir(parents=True)
    (allowed / "1" / "model.pb").write_bytes(b"m")
    secret.write_bytes(b"s")
    (allowed / "leak").symlink_to(secret)
    (allowed / "up").symlink_to(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "way-in").symlink_to(allowed)
    found = job(results=(str(allowed),))
    assert publishable(found, f"{allowed}/1/model.pb") == allowed / "1" / "model.pb"
    assert publishable(found, f"{allowed}/1") == allowed / "1"
    assert publishable(found, f"{tmp_path}/way-in/1") == allowed / "1"
    for url in ("leak", "up", "up/secret", "up/outside"):
        with pytest.raises(RefusedError):
            publishable(found, f"{allowed}/{url}")
    for path in (secret, tmp_path / "outside", tmp_path):
        with pytest.raises(RefusedError):
            publishable(found, str(path))
    (allowed / "round").symlink_to(allowed / "round")
    for url in ("2", "round", "1/model.pb/x", "x" * 300):
        with pytest.raises(NotFoundError):
            publishable(found, f"{allowed}/{url}")
    with pytest.raises(RefusedError):
        publishable(job(), f"{allowed}/1")
