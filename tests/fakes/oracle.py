"""The oracle of every fault test: a version that can be seen on a node is byte-exact, or it can't be seen.

It shares no code with the store that it judges but the reading of manifests and releases: digests are computed here,
with the libraries themselves, over files opened here.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from blake3 import blake3

from modelsyncd.manifest import Manifest
from modelsyncd.wire.nouns import decode_manifest, decode_release, decode_signed

_FOLDER = re.compile(r"([1-9][0-9]*)-([0-9a-f]{12})")
_TARGET = re.compile(r"versions/([1-9][0-9]*-[0-9a-f]{12})")


def whole_versions(data: Path) -> dict[str, Path]:
    """Every version that a job could see below an agent's folder, as "namespace/name:number" with its folder.

    Raises AssertionError when one of them is not exactly as its manifest says, or a channel leads to anything else.
    """
    found = {}
    for model in sorted((data / "models").glob("*/*")):
        name = "/".join(model.parts[-2:])
        for folder in sorted((model / "versions").glob("*")):
            if folder.name.startswith(".") or (folder.suffix == ".damaged" and folder.is_file()):
                continue  # half-made or half-removed, under a name that leads nobody there; or a mark
            number = _check_version(data, name, folder)
            found[f"{name}:{number}"] = folder
        _check_channels(model)
    return found


def _check_channels(model: Path) -> None:
    for link in model.iterdir():
        if link.name == "versions":
            continue
        assert link.is_symlink(), f"{link} is no link"
        target = _TARGET.fullmatch(str(link.readlink()))
        assert target, f"{link} leads to {link.readlink()}"
        if not link.name.startswith("."):  # where a channel led before may be gone by now
            assert (model / "versions" / target[1]).is_dir(), f"{link} leads nowhere"


def _check_version(data: Path, model: str, folder: Path) -> int:
    named = _FOLDER.fullmatch(folder.name)
    assert named, f"{folder} has no version's name"
    number, short = int(named[1]), named[2]
    (papers,) = (data / "manifests").glob(f"{short}*")
    raw = papers.read_bytes()
    assert blake3(raw).hexdigest() == papers.name, f"{papers} is another manifest"
    assert _is_released(data, model, number, papers.name), f"no release speaks of {folder}"
    check_files(folder, decode_manifest(raw))
    return number


def _is_released(data: Path, model: str, number: int, manifest: str) -> bool:
    for path in (data / "releases").glob("[!.]*"):
        signed = decode_signed(path.read_bytes())
        assert blake3(signed.release).hexdigest() == path.name, f"{path} is another release"
        release = decode_release(signed.release)
        digests = {variant.manifest.digest.hex() for variant in release.variants}
        if (str(release.model), release.number) == (model, number) and manifest in digests:
            return True
    return False


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises AssertionError unless the folder has exactly these files, with exactly these bytes."""
    lies = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert lies == {file.path for file in manifest.files}, f"other files in {folder}"
    for file in manifest.files:
        path = folder / file.path
        assert path.is_file(), f"{path} is no regular file"
        assert not path.is_symlink(), f"{path} is a link"
        plain = path.read_bytes()
        assert len(plain) == file.size, f"{path} has {len(plain)} bytes instead of {file.size}"
        assert hashlib.sha256(plain).digest() == file.sha256, f"{path} has other bytes"
        offset = 0
        for index, size in enumerate(file.chunk_sizes):
            digest = blake3(plain[offset : offset + size]).digest()
            assert digest == file.chunk_digests[32 * index : 32 * index + 32], f"chunk {index} of {path} is wrong"
            offset += size
        assert bool(path.stat().st_mode & 0o100) == file.executable, f"{path} may be run, or not, as it should not"
