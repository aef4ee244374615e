"""For all tests: hypothesis judges no test by the clock, and programs code by numpy unless a test says otherwise."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")
os.environ["MODELSYNCD_LOOPS"] = "numpy"
