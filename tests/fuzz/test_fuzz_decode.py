"""A bounded run of the fuzzer over the decoder of chunks, from real payloads on."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="there is no atheris for this kind of machine")
def test_no_payload_makes_the_decoder_fail(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.fuzz_decode",
            "-runs=20000",
            "-max_total_time=20",
            "-seed=1",
            "-max_len=20000",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert list(tmp_path.iterdir()) == []
    assert "Done" in run.stderr
