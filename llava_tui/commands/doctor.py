"""`llava doctor`: what this machine, this install and this terminal can do, and why it was decided so.

In: nothing but the surroundings. Out: a page for a person, or with --json the same facts as one object. It reports what
is broken instead of stopping at it. Must not decide anything: it asks the places that do.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from llava_engine.byte_text import gibibytes
from llava_engine.opening import QUANTIZATIONS
from llava_engine.terminal_safe import strip_control
from llava_tui.commands import extras
from llava_tui.commands.say import say

app = typer.Typer()


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Say what this machine, this install and this terminal can do, and why."""
    facts = examine()
    if as_json:
        say(strip_control(json.dumps(facts, indent=2)))
    else:
        say(strip_control("\n".join(page(facts))))  # TERM, folders and cards are named by others


def examine() -> dict[str, Any]:
    """All facts, as plain JSON data."""
    return {
        "versions": _versions(),
        "devices": _devices(),
        "kernels": _kernels(),
        "terminal": _terminal(),
        "extras": _extras(),
        "engines": _engines(),
        "folders": _folders(),
    }


def page(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as lines for a person."""
    yield from _section("Versions", facts["versions"].items())
    yield from _section("Devices", ((device["device"], device["what"]) for device in facts["devices"]))
    yield from _section(
        "Linear layers", ((kernel["for"], f"{kernel['kernel']}: {kernel['why']}") for kernel in facts["kernels"])
    )
    terminal = facts["terminal"]
    yield from _section(
        "Terminal",
        [
            ("pictures", terminal["image_protocol"]),
            ("colours", terminal["colours"]),
            *(("because" if number == 0 else "", why) for number, why in enumerate(terminal["why"])),
        ],
    )
    yield from _section(
        "Installs",
        (
            (extra["extra"], f"lacks {', '.join(extra['missing'])}: {extra['pip']}" if extra["missing"] else "complete")
            for extra in facts["extras"]
        ),
    )
    yield from _section(
        "Engines elsewhere",
        ((one["key"], f"{one['for']}: {'is set' if one['set'] else 'not set'}") for one in facts["engines"]),
    )
    yield from _section(
        "Folders",
        (
            (name, folder["path"] if folder["writable"] else f"{folder['path']}  (can not be written)")
            for name, folder in facts["folders"].items()
        ),
        last=True,
    )


def _section(title: str, rows: Any, *, last: bool = False) -> Iterator[str]:
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    yield title
    for name, value in rows:
        yield f"  {name.ljust(width)}  {value}"
    if not last:
        yield ""


def _versions() -> dict[str, str]:
    names = dict.fromkeys(need.package for need in extras.needs() if need.extra == "")
    installed = {need.package: need.installed or "not installed" for need in extras.needs() if need.package in names}
    return {"llava": version("llava"), "python": platform.python_version(), "system": platform.platform()} | installed


def _devices() -> list[dict[str, Any]]:
    cores = os.cpu_count() or 1
    memory = _memory()
    cpu = {"device": "cpu", "what": f"{_processor()}, {cores} cores" + (f", {gibibytes(memory)}" if memory else "")}
    try:
        import torch
    except Exception as error:  # whatever a broken install raises is the finding
        return [cpu | {"memory_bytes": memory}, {"device": "torch", "what": f"can not be imported: {error}"}]
    from llava_engine.model.free_memory import free_memory

    devices: list[dict[str, Any]] = [cpu | {"memory_bytes": memory}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        what = f"{properties.name}, {gibibytes(properties.total_memory)}"
        devices.append({"device": f"cuda:{index}", "what": what, "memory_bytes": properties.total_memory})
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "what": "Apple graphics, shares the machine's memory", "memory_bytes": memory})
    for device in devices:
        free = device["free_bytes"] = free_memory(torch.device(device["device"]))
        device["what"] += f", {gibibytes(free)} free" if free is not None else ""
    return devices


def _kernels() -> list[dict[str, str]]:
    """What the linear layers of a small and of a large model would get here, as the loader decides it."""
    try:
        import torch

        from llava_engine.model.linear import choose_kernel, has_fast_bfloat16
    except Exception as error:  # as above
        return [{"for": "torch", "kernel": "none", "why": f"can not be imported: {error}"}]
    large = torch.bfloat16 if has_fast_bfloat16() else torch.float32
    kinds = ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]
    kinds += ["mps"] if torch.backends.mps.is_available() else []
    wanted = [("the embedded model", torch.device("cpu"), torch.float32, "none", 3_000_000)]
    for device in map(torch.device, kinds):
        where = "" if len(kinds) == 1 else f" on {device.type}"
        dtype = large if device.type == "cpu" else torch.float16
        wanted.append((f"a large model{where}", device, dtype, "none", 7_000_000_000))
        wanted += [(f"{form}{where}", device, dtype, form, 7_000_000_000) for form in QUANTIZATIONS if form != "none"]
    choices = [(model, choose_kernel(device, dtype, form, count)) for model, device, dtype, form, count in wanted]
    return [{"for": model, "kernel": choice.label, "why": choice.why} for model, choice in choices]


def _terminal() -> dict[str, Any]:
    from llava_tui.terminal.detect import detect
    from llava_tui.terminal.probe import probe

    return asdict(detect(os.environ, probe))


def _extras() -> list[dict[str, Any]]:
    needs = extras.needs()
    return [
        {
            "extra": name or "base",
            "missing": [need.package for need in needs if need.extra == name and need.installed is None],
            "pip": extras.pip_line(name),
        }
        for name in dict.fromkeys(need.extra for need in needs)
    ]


def _engines() -> list[dict[str, Any]]:
    """Which keys there are for servers; never what they are."""
    keys = {"LLAVA_ENGINE_KEY": "the server of --engine", "OPENAI_API_KEY": "api.openai.com only"}
    return [{"key": name, "for": where, "set": bool(os.environ.get(name))} for name, where in keys.items()]


def _folders() -> dict[str, dict[str, Any]]:
    from llava_tui.paths import user_paths

    return {name: {"path": str(path), "writable": _writable(path)} for name, path in asdict(user_paths()).items()}


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, lets us write."""
    there = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK)


def _memory() -> int | None:
    """Bytes of main memory; None where the system has no way to say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _processor() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
