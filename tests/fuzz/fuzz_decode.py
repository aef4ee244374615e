"""Fuzzes the decoder of chunks: `python -m tests.fuzz.fuzz_decode -max_total_time=60 [CORPUS]`.

The flags are libFuzzer's. The first two bytes of an input choose the codec and the sample whose base and size are used;
the rest is the payload. What must hold: the sample's size of bytes comes out, or DamageError.

With FUZZ_LOOPS=compiled in the environment, compiled loops decode; NUMBA_BOUNDSCHECK=1 beside it makes them look at
every index, so that one beyond an array's end is found even where it would do no harm.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelsyncd.codec"]):
    from modelsyncd.codec import native
    from modelsyncd.codec.profile import Profile
    from modelsyncd.codec.registry import READABLE, Codec, decode, encode
    from modelsyncd.errors import DamageError

from tests.fakes.chunk_samples import samples

SAMPLES = samples()
NAMES = sorted(SAMPLES)
CODECS = sorted(Codec)


def one(data: bytes) -> None:
    """One payload for one sample."""
    if len(data) < 2:
        return
    sample = SAMPLES[NAMES[data[0] % len(NAMES)]]
    with suppress(DamageError):
        found = decode(CODECS[data[1] % len(CODECS)], data[2:], len(sample.plain), sample.base)
        assert len(found) == len(sample.plain)


def seed(folder: Path) -> None:
    """Writes real payloads as files to begin with."""
    for index, name in enumerate(NAMES):
        sample = SAMPLES[name]
        for profile in Profile:
            for base in (sample.base, None):
                codec, payload = encode(sample.plain, READABLE, sample.hint, base, profile)
                way = f"{name}-{profile.name}-{'on' if base else 'alone'}"
                (folder / way).write_bytes(bytes((index, CODECS.index(codec))) + bytes(payload))


def main() -> None:
    """Runs until libFuzzer's flags say stop; exits with 77 and a file `crash-…` when something does not hold."""
    native.use(compiled=os.environ.get("FUZZ_LOOPS") == "compiled")
    with tempfile.TemporaryDirectory(prefix="fuzz-decode-") as made:
        seed(Path(made))
        atheris.Setup([*sys.argv, made], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
