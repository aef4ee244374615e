"""A bounded run of the fuzzer over the decoder of chunks, from real payloads on."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fakes.coding_loops import WITHOUT

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="there is no atheris for this kind of machine")
@pytest.mark.parametrize("loops", ["numpy", pytest.param("compiled", marks=WITHOUT)])
def test_no_payload_makes_the_decoder_fail(loops: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.fuzz_decode",
            "-runs=20000",
            "-max_total_time=15",
            "-seed=1",
            "-max_len=20000",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT,
        env={**os.environ, "FUZZ_LOOPS": loops, "NUMBA_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert list(tmp_path.iterdir()) == []
    assert "Done" in run.stderr
