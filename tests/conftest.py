"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# Side by side, each process has its share of the cores; more threads than cores only wait for one another.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# No test of ours measures time: on a busy machine a slow example is no failure.
settings.register_profile("llava", deadline=None)
settings.load_profile("llava")
