"""For all tests: hypothesis judges no test by the clock, because machines are shared and noisy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")
