"""The doors of the house that stay shut: who may import whom, and what no file may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import PACKAGES, calls, imported, python_files, tree

SERVING = ("starlette", "uvicorn", "msgspec")
HEAVY = ("torch", "transformers", "textual", "PIL", "httpx", *SERVING)

# Who must never import what: a file's path begins with the first, an imported module with one of the second.
SHUT_DOORS = [
    ("llava_engine/", ("llava_tui", "training", "textual", "typer", "rich")),
    ("llava_engine/conversation/", ("torch", "transformers", "llava_engine.model", "llava_engine.engine")),
    ("llava_engine/model/", ("llava_engine.decoding", "llava_engine.checkpoints", "llava_engine.conversation")),
    (
        "llava_engine/decoding/",
        (
            "llava_engine.engine",
            "llava_engine.checkpoints",
            "llava_engine.files",
            "llava_engine.network",
            "transformers",
        ),
    ),
    ("llava_engine/files/", ("llava_engine.checkpoints", "llava_engine.model", "llava_engine.hub")),
    ("llava_engine/hub/", ("torch", "llava_engine.checkpoints", "llava_engine.model")),
    (
        "llava_engine/backends/remote/",
        (
            *(f"llava_engine.{room}" for room in ("checkpoints", "decoding", "files", "hub", "model", "parity")),
            *(f"llava_engine.{room}" for room in ("chat", "engine", "flags", "opening", "server")),
            *("torch", "starlette"),
        ),
    ),
    # Of our own models it may know how memory is said and how a token is drawn; the rest is the contract.
    (
        "llava_engine/backends/transformers/",
        (
            "llava_engine.engine",
            "llava_engine.checkpoints.load",
            "llava_engine.checkpoints.open",
            "llava_engine.decoding.cache",
            "llava_engine.decoding.stream",
            "llava_engine.model.language",
            "llava_engine.model.llava",
            "llava_engine.model.vision",
        ),
    ),
    (
        "llava_engine/server/",
        ("torch", "llava_engine.engine", "llava_engine.model", "llava_engine.checkpoints", "llava_engine.decoding"),
    ),
    ("llava_engine/pictures/opening.py", ("torch", "transformers", "llava_engine.model")),
    ("training/", ("llava_tui", "textual")),
    ("llava_tui/", ("transformers", "training")),
    ("llava_tui/session/", ("textual", "torch")),
    ("llava_tui/history/store.py", ("textual", "torch")),
]

# A judge is no engine, and asks a server in the same way: with its address, key, errors and limits.
BACK_DOORS = {"training/evaluation/judge.py": ("llava_engine.backends.remote.",)}

COMMAND_LINE = {
    Path("llava_tui/commands/ask.py"),
    Path("llava_tui/commands/chat.py"),
    Path("llava_tui/cli.py"),
    Path("llava_tui/commands/doctor.py"),
    Path("training/cli.py"),
    Path("training/evaluation/cli.py"),
}

MODEL_NAMES = {"llava", "vicuna", "llama", "mpt", "mistral", "mixtral", "qwen", "v0", "v1", "v1.5", "v1.6", "lora"}

RUNS_STRANGERS_CODE = {"eval", "exec", "os.system", "pickle.load", "pickle.loads"}

OURS = python_files(*PACKAGES)


@pytest.mark.parametrize(("room", "shut"), SHUT_DOORS, ids=lambda value: value if isinstance(value, str) else "")
def test_no_door_between_rooms_is_opened(room: str, shut: tuple[str, ...]) -> None:
    files = [path for path in OURS if path.as_posix().startswith(room)]
    assert files, f"nothing is called {room} any more: change the table"
    found = [
        f"{path}:{line} imports {module}"
        for path in files
        for module, line in imported(path)
        if any(module == name or module.startswith(f"{name}.") for name in shut)
    ]
    assert not found


def test_only_what_opens_engines_knows_the_backends() -> None:
    found = [
        f"{path}:{line} imports {module}"
        for path in OURS
        if not path.as_posix().startswith("llava_engine/backends/")
        for module, line in imported(path)
        if module.startswith("llava_engine.backends.")
        and not module.startswith(("llava_engine.backends.opening", *BACK_DOORS.get(path.as_posix(), ())))
    ]
    assert not found


def test_transformers_is_imported_in_one_room() -> None:
    found = [
        f"{path}:{line} imports {module}"
        for path in OURS
        if not path.as_posix().startswith("llava_engine/backends/transformers/")
        for module, line in imported(path)
        if module.split(".")[0] == "transformers"
    ]
    assert not found


def test_the_server_is_a_room_that_only_its_command_enters() -> None:
    found = [
        f"{path}:{line} imports {module}"
        for path in OURS
        if not path.as_posix().startswith(("llava_engine/server/", "llava_tui/commands/serve.py"))
        for module, line in imported(path)
        if module.partition(".")[0] in SERVING or module.startswith("llava_engine.server")
    ]
    assert not found


def test_nobody_asks_on_standard_input_or_prints_but_the_command_line() -> None:
    found = [
        f"{path}:{call.lineno} {name}()"
        for path in OURS
        for name, call in calls(path)
        if name in {"input", "breakpoint"} or (name == "print" and path not in COMMAND_LINE)
    ]
    assert not found


def test_nobody_names_a_device_where_it_is_used() -> None:
    assert not [f"{path}:{call.lineno}" for path in OURS for name, call in calls(path) if name.endswith(".cuda")]


def test_nothing_from_outside_is_run() -> None:
    found = []
    for path in OURS:
        for name, call in calls(path):
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            true = {arg for arg, value in keywords.items() if isinstance(value, ast.Constant) and value.value is True}
            if true & {"shell", "trust_remote_code"} or name in {
                "eval",
                "exec",
                "os.system",
                "pickle.load",
                "pickle.loads",
            }:
                found.append(f"{path}:{call.lineno} {name}")
            if name == "torch.load" and "weights_only" not in true:
                found.append(f"{path}:{call.lineno} torch.load without weights_only=True")
    assert not found


def test_nobody_says_torch_dtype() -> None:
    found = [
        f"{path}:{call.lineno}"
        for path in OURS
        for _, call in calls(path)
        if any(keyword.arg == "torch_dtype" for keyword in call.keywords)
    ]
    assert not found, "transformers 5 says dtype="


def test_nothing_is_decided_by_a_name() -> None:
    found = []
    for path in OURS:
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant)):
                continue
            asks_in = any(isinstance(operator, ast.In | ast.NotIn) for operator in node.ops)
            if asks_in and str(node.left.value).lower() in MODEL_NAMES:
                found.append(f"{path}:{node.lineno} asks whether {node.left.value!r} is in something")
        for name, call in calls(path):
            words = {str(arg.value).lower() for arg in call.args if isinstance(arg, ast.Constant)}
            if name.endswith((".startswith", ".endswith", ".find")) and words & MODEL_NAMES:
                found.append(f"{path}:{call.lineno} {name}({words})")
    assert not found


def test_no_unknown_error_is_passed_over_in_silence() -> None:
    broad = {"", "Exception", "BaseException"}
    found = [
        f"{path}:{node.lineno}"
        for path in OURS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or isinstance(node.body[0], ast.Pass))
        and (ast.unparse(node.type) if node.type else "") in broad
    ]
    assert not found


def test_there_is_no_global_state() -> None:
    found = [f"{path}:{node.lineno}" for path in OURS for node in ast.walk(tree(path)) if isinstance(node, ast.Global)]
    assert not found


def test_every_file_says_what_it_is_for() -> None:
    empty = [path for path in OURS if tree(path).body and not ast.get_docstring(tree(path))]
    assert not empty


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import llava_engine", ("torch", "transformers", "textual", "PIL", "numpy", "httpx")),
        ("import llava_engine.backends.opening", ("torch", "transformers", "PIL", "httpx")),
        ("import llava_engine.backends.remote.engine", ("torch", "transformers", "textual")),
        ("import llava_engine.conversation.tokenizer, llava_engine.pictures.opening", ("torch", "transformers")),
        (
            "import llava_tui.session.session, llava_tui.session.token_pump, llava_tui.history.store",
            ("torch", "textual"),
        ),
        ("import llava_tui.app", ("torch", "transformers", *SERVING)),
        ("import llava_engine.engine", SERVING),
        ("import llava_engine.server.serving", ("torch", "transformers", "textual", "PIL", "numpy")),
        ("import training.cli, training.data_cli, training.evaluation.cli", ("torch", "transformers", "textual")),
    ],
)
def test_importing_stays_light(code: str, absent: tuple[str, ...]) -> None:
    assert not _loaded(code, absent)


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "ask --help",
        "chat --help",
        "serve --help",
        "doctor --help",
        "models --help",
        "models get --help",
        "convert --help",
        "delta --help",
        "delta apply --help",
        "models show --help",
        "train --help",
        "train finetune --help",
        "eval --help",
        "eval pictures --help",
        "eval review --help",
        "eval grade mmvet --help",
        "data generate --help",
        "--show-completion",
    ],
)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = f"import sys; sys.argv = ['llava', *{command.split()!r}]\nimport llava_tui.cli\n"
    code += "try: llava_tui.cli.main()\nexcept SystemExit as end: assert not end.code, end.code"
    assert not _loaded(code, HEAVY)


def _loaded(code: str, names: tuple[str, ...]) -> set[str]:
    """Which of these modules a fresh interpreter has after running the code."""
    code += f"\nimport sys; print('LOADED', *set({names!r}) & set(sys.modules))"
    # Under a shell, for --show-completion looks for one among its parents.
    command = ["bash", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])
