"""Payloads that an earlier version wrote, on the wire and at rest: every later version reads them.

`tests/golden/codec-payloads.json` has for each sample of tests/fakes/chunk_samples.py what codecs made of it. A new way
to write gets new entries, old ones are never touched:

    .venv/bin/python -m tests.unit.test_codec_golden NAME …

adds an entry for each of the samples named, in the two profiles that code, with and without its base, if no entry with
the same payload is there. Encoders may change what they write at any time, so no test compares that.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from modelsyncd.codec import graded
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.digest import digest_of
from tests.fakes import graded_reader
from tests.fakes.chunk_samples import samples
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

FILE = Path(__file__).parents[1] / "golden" / "codec-payloads.json"
SAMPLES = samples()
ENTRIES: list[dict[str, str]] = json.loads(FILE.read_text()) if FILE.exists() else []


def _name(entry: dict[str, str]) -> str:
    return f"{entry['sample']}-{entry['codec']}-{'based' if entry['base'] else 'alone'}-{entry['payload'][:8]}"


@pytest.mark.parametrize("entry", ENTRIES, ids=map(_name, ENTRIES))
def test_what_was_written_once_can_be_read_for_ever(entry: dict[str, str]) -> None:
    sample = SAMPLES[entry["sample"]]
    assert digest_of(sample.plain).hex() == entry["plain"], "the sample is not what it was when the payload was made"
    payload, base = base64.b64decode(entry["payload"]), sample.base if entry["base"] else None
    assert decode(Codec[entry["codec"]], payload, len(sample.plain), base) == sample.plain


GRADED = [entry for entry in ENTRIES if entry["codec"] in ("PLANES", "DELTA") and entry["payload"].startswith("E")]


@pytest.mark.parametrize("entry", GRADED, ids=map(_name, GRADED))
def test_the_description_is_enough_to_read_a_graded_payload(entry: dict[str, str]) -> None:
    sample, payload = SAMPLES[entry["sample"]], base64.b64decode(entry["payload"])
    assert graded.marked(payload)
    assert graded_reader.decode(payload, sample.base if entry["base"] else bytes(len(sample.plain))) == sample.plain


def test_every_codec_that_can_be_read_has_a_payload() -> None:
    assert {entry["codec"] for entry in ENTRIES} == {codec.name for codec in READABLE}


def _add(names: list[str]) -> None:
    known = {entry["payload"] for entry in ENTRIES}
    for name in names:
        sample = SAMPLES[name]
        for profile in (Profile.SMALLEST, Profile.FAST):
            for base in (sample.base, None):
                codec, payload = encode(sample.plain, READABLE, sample.hint, base, profile)
                written = base64.b64encode(payload).decode()
                if written not in known and (codec is not Codec.STORED or name == "f32-odd"):
                    known.add(written)
                    ENTRIES.append(
                        {
                            "sample": name,
                            "codec": codec.name,
                            "base": "its own" if base and codec.name in ("DELTA", "LOWRANK") else "",
                            "plain": digest_of(sample.plain).hex(),
                            "payload": written,
                        }
                    )
    FILE.write_text(json.dumps(ENTRIES, indent=1) + "\n")


if __name__ == "__main__":
    _add(sys.argv[1:])
