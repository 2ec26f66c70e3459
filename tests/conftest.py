"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No test of ours measures time: on a busy machine a slow example is no failure.
settings.register_profile("llava", deadline=None)
settings.load_profile("llava")
