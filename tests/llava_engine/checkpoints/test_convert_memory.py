"""Converting holds a tensor or two in memory, whatever the model's size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.llava_engine.large import wide, write_large
from tests.llava_engine.tiny import SPECIALS, tokenizer_files

MB = 10**6

_CONVERT = """
import json, sys
from pathlib import Path
from llava_engine.checkpoints.convert import convert
def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
before = memory("VmRSS")
convert(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
print(json.dumps([before, memory("VmHWM")]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_a_tensor_or_two(tmp_path: Path) -> None:
    config = wide(layers=6, width=1024, vocabulary=16000)
    size = write_large(config, tmp_path / "model")
    tokenizer_files(tmp_path / "model", SPECIALS)
    side = config.vision.image_size
    pictures = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(pictures))
    largest = 16000 * 1024 * 2
    assert size > 6 * largest
    command = [sys.executable, "-c", _CONVERT, str(tmp_path / "model"), "original", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    before, peak = json.loads(done.stdout)
    assert peak - before < 2 * largest + 100 * MB  # what is mapped of a file is given back every 64 MB
