"""How far the fault tests reach: a sample in CI, and everything where MODELSYNCD_FAULTS is "full" (`make faults`).

A seed is part of a test's name, so that what failed can be run again by that name. MODELSYNCD_FAULTS_SECONDS bounds
the time: each file of tests has an equal share of it, and skips what does not fit.
"""

from __future__ import annotations

import os

FULL = os.environ.get("MODELSYNCD_FAULTS") == "full"
SECONDS = float(os.environ.get("MODELSYNCD_FAULTS_SECONDS") or 0)
"""How long the fault tests may take altogether; 0 for as long as they need."""


def reach(*, pr: int, full: int) -> int:
    """How many: `pr` in CI, `full` for a release."""
    return full if FULL else pr


def seeds(*, pr: int, full: int) -> range:
    """So many seeds, from 1 on: those of CI are the first of all."""
    return range(1, reach(pr=pr, full=full) + 1)
