"""Settings of the unit tests: everything is data, so property tests are quick."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=30, database=None)
settings.load_profile("unit")
