"""The `llava` command: mounts its subcommands, and turns whatever ends one into an exit code.

0 done · 1 the user's input, model or disk (one to three lines on stderr) · 2 usage · 130 Ctrl-C. A bug keeps its
traceback and leaves a crash file. Must stay quick: nothing here imports torch, textual, PIL or a subcommand.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from typing import Annotated, ClassVar, NoReturn, TextIO

import typer
from typer.main import get_command

from llava_engine.errors import LlavaError, OutOfMemoryError, StorageError, UsageError
from llava_tui.commands.lazy_group import LazyGroup, Mount


class LlavaGroup(LazyGroup):
    """What `llava` can do, in the order in which its help shows it."""

    mounts: ClassVar[dict[str, Mount]] = {
        "chat": Mount("Talk", "llava_tui.commands.chat", "Talk about pictures, full screen."),
        "ask": Mount("Talk", "llava_tui.commands.ask", "Ask one question, get the answer, for people and pipes."),
        "serve": Mount("Talk", "llava_tui.commands.serve", "An OpenAI-compatible API, and a page, over a model."),
        "train": Mount("Train", "training.cli", "Train a model: tiny, pretrain, finetune, embedded."),
        "eval": Mount("Train", "training.evaluation.cli", "Measure a model: on drawn pictures, on benchmarks."),
        "data": Mount("Train", "training.data_cli", "Rows to train on, by a text model: generate."),
        "models": Mount(
            "Weights", "llava_tui.commands.models", "The models here and elsewhere: list, show, get, remove."
        ),
        "convert": Mount(
            "Weights", "llava_tui.commands.convert", "A model in another layout: hf, original, projector, merged, gguf."
        ),
        "delta": Mount(
            "Weights", "llava_tui.commands.delta", "Weights published as a difference: apply, make, verify."
        ),
        "doctor": Mount("Help", "llava_tui.commands.doctor", "What this machine and this terminal can do, and why."),
    }


EXAMPLES = """\b
Examples:
  llava chat                                a conversation with the model that comes along
  llava chat photo.jpg --model ~/llava-7b   about a picture, with a model of yours
  llava chat --engine http://gpu1:8000      with a model that a server has
  llava ask -i photo.jpg -q "What is this?"
  llava ask -i a.png -i b.png -q "What differs?" --json
  curl -s https://example.org/a.png | llava ask -i - "What is this?"
  llava serve                               a model for other programs, and a page
"""


# How a disk says no: it is full, over quota, read-only, or not ours.
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"llava {version('llava')}")
        raise typer.Exit()


app = typer.Typer(
    cls=LlavaGroup,
    rich_markup_mode=None,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def llava(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Chat with pictures in your terminal.

    Every command explains itself: llava COMMAND --help.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    closed = _fill_closed_streams()
    if sys.stdout in closed:  # after minutes of work is too late to say so
        _fail(
            StorageError(
                "Standard output is closed, so nothing can be said.", "Give it a place: > FILE, or > /dev/null."
            )
        )
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an answer may hold letters that this terminal's encoding lacks
    # Pillow warns of large pictures and odd EXIF data in many lines, torch of old weight files; what matters of it is
    # our own errors' to say.
    for module in (r"PIL\.", r"torch\.(_utils|_weights_only_unpickler|serialization|storage)"):
        warnings.filterwarnings("ignore", module=module)
    try:
        get_command(app).main(prog_name="llava")
    except LlavaError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        from llava_tui.commands.extras import missing_package

        missing = missing_package(error.name)
        if missing is None:
            _crash(error)
        _fail(missing)
    except OSError as error:
        if error.errno not in REFUSALS:
            _crash(error)
        _let_go_of_output()
        where = f" to {error.filename}" if error.filename else ""
        _fail(StorageError(f"Writing{where} failed: {error.strerror}.", "Free some space, or write somewhere else."))
    except Exception as error:
        _crash(error)
    sys.exit(0)


def _fill_closed_streams() -> list[TextIO]:
    """Whoever starts a program may close its standard streams (`<&-`): here they are empty instead; those that were.

    Otherwise the next file that is opened gets the number of the closed one, and what a library writes to "standard
    error" (libtiff does) ends up in a database.
    """
    closed = []
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            if _is_free(number):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
                os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
            closed.append(getattr(sys, name))
    return closed


def _is_free(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _let_go_of_output() -> None:
    """What could not be written would be tried again at exit, and complained about; it goes nowhere instead."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _fail(error: LlavaError) -> NoReturn:
    from llava_engine.terminal_safe import one_line, strip_control
    from llava_tui.commands.say import say

    lines = [str(one_line(line)) for line in (error.cause, error.remedy)]
    if isinstance(error, OutOfMemoryError):
        from llava_tui.commands.plan_lines import plan_lines

        lines += ["", *plan_lines(error.plan)]
    text = "llava: " + "\n".join(line for number, line in enumerate(lines) if line or number > 1)
    say(strip_control(text), err=True)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def _crash(error: Exception) -> NoReturn:
    import traceback

    from llava_engine.terminal_safe import strip_control
    from llava_tui.commands.say import say
    from llava_tui.crash import write_report
    from llava_tui.paths import user_paths

    path = write_report(error, user_paths().state)
    note = f"A report is in {path}" if path else "No report could be written."
    say(strip_control("".join(traceback.format_exception(error))), err=True)  # it quotes names, too
    say(strip_control(f"This is a bug in llava. {note}"), err=True)
    sys.exit(1)
