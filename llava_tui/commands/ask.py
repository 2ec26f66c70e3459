"""`llava ask`: one question, its pictures, one answer.

In: the command line and standard input. Out: the answer on standard output, in one of the three ways of
answer_output.py; everything else goes to standard error. Knows an engine by its contract only.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from llava_engine.contract import EngineLike, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ConversationError
from llava_engine.opening import AUTO, Placement, Source
from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui import gc_pause
from llava_tui.commands import options
from llava_tui.commands.known_folders import remember_model
from llava_tui.commands.say import say

if TYPE_CHECKING:
    from llava_engine.pictures.opening import Picture
    from llava_tui.commands.answer_output import AnswerOutput

DESCRIBE = "Describe this picture."
DESCRIBE_MANY = "Describe these pictures."

app = typer.Typer()


@app.command(
    epilog="""\b
Examples:
  llava ask -i photo.jpg -q "What is this?"
  llava ask -i photo.jpg                      describes it
  llava ask "Who are you?"                    needs no picture
  echo "How many are there?" | llava ask -i photo.jpg
  llava ask -i https://example.org/a.png -q "What is this?" --json
"""
)
@options.opening
def ask(
    words: Annotated[str | None, typer.Argument(metavar="QUERY", help="The question.")] = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--image", "-i", metavar="FILE|URL|-", help="A picture; may be given again. - is standard input."),
    ] = None,
    query: Annotated[str | None, typer.Option("--query", "-q", metavar="TEXT", help="The question.")] = None,
    system: options.System = None,
    temperature: options.Temperature = 0.0,
    max_new_tokens: options.MaxNewTokens = 256,
    seed: options.Seed = None,
    parity: Annotated[
        bool,
        typer.Option("--parity", help="Answer as the original's own code does, mistakes and all: see docs/parity.md."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: the answer and what it took.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="A line on standard error: tokens, seconds, model.")] = False,
    *,
    source: Source,
    placement: Placement,
) -> None:
    """Ask one question about any number of pictures.

    The question is an argument, --query, or standard input. In a pipe the answer is all that is printed.
    """
    named = images or []
    question = _question(words, query, named)
    pictures = [_open(name) for name in named]
    sampling = Sampling(temperature=temperature, seed=seed, max_new_tokens=max_new_tokens)
    conversation = Conversation((Message.user(question, pictures),), system)
    gc_pause.rest()
    try:
        engine = _load(source, placement, parity)
    finally:
        gc_pause.resume()
    remember_model(engine.card)
    with _interruptible() as cancelled, _output(engine, as_json) as output:
        for piece in engine.stream(conversation, sampling, cancelled=cancelled):
            if isinstance(piece, Reply):
                reply = piece
                output.finish(reply, pictures)
            else:
                output.feed(piece)
    if stats:
        say(stats_line(engine, reply), err=True)
    if reply.finish_reason == "cancelled":
        raise typer.Exit(130)
    if reply.finish_reason == "length" and sys.stderr.isatty():
        say(strip_control(f"(cut at {reply.completion_tokens} tokens; --max-new-tokens allows more)"), err=True)


def stats_line(engine: EngineLike, reply: Reply) -> SafeText:
    """What an answer took, on one line."""
    card, pictures = engine.card, sum(reply.picture_tokens)
    return one_line(
        f"{reply.completion_tokens} tokens at {reply.tokens_per_second:.1f}/s, the first after "
        f"{reply.time_to_first_token_s:.2f} s · prompt {reply.prompt_tokens} tokens ({pictures} of pictures, "
        f"{reply.cached_tokens} cached) · {card.name}, {card.device}, {card.dtype}, {card.kernel}"
    )


def _question(words: str | None, query: str | None, sources: list[str]) -> str:
    if words is not None and query is not None:
        raise typer.BadParameter("the question is given twice, as an argument and as --query")
    if sources.count("-") > 1:
        raise typer.BadParameter("only one picture can come from standard input", param_hint="--image")
    text = words if words is not None else query
    if text is None and "-" not in sources and sys.stdin and not sys.stdin.isatty():
        text = _standard_input()
    if text is not None and text.strip():
        return text.strip()
    if sources:
        return DESCRIBE if len(sources) == 1 else DESCRIBE_MANY
    raise typer.BadParameter("there is no question: llava ask -i PICTURE -q QUESTION")


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ConversationError(
            "Standard input is not UTF-8 text.", "If it is a picture, say so: llava ask -i - -q QUESTION"
        ) from error


def _open(source: str) -> Picture:
    from llava_engine.pictures.opening import MAX_BYTES, open_picture

    if source == "-":
        # One byte more than is allowed, so that the picture's own check can refuse it.
        return open_picture(sys.stdin.buffer.read(MAX_BYTES + 1), name="standard input")
    return open_picture(source)


def _load(source: Source, placement: Placement, parity: bool) -> EngineLike:
    import llava_engine

    load = _load_original if parity else llava_engine.open_model
    if not sys.stderr.isatty():
        return load(source, placement)
    from rich.console import Console

    with Console(stderr=True).status("Loading the model"):
        return load(source, placement)


def _load_original(source: Source, placement: Placement) -> EngineLike:
    """An engine that answers as the original; it is as it is, so that nothing else can be set."""
    if placement != AUTO or source.template is not None or source.force:
        raise typer.BadParameter("the original answers in its own way: only --model, --base and --tower go with it")
    from llava_engine.checkpoints.catalog import find
    from llava_engine.parity.engine import ParityEngine

    base, tower = source.base, source.tower
    return ParityEngine.load(
        find(source.model), base=find(base) if base else None, towers={"": find(tower)} if tower else None
    )


def _output(engine: EngineLike, as_json: bool) -> AnswerOutput:
    from llava_tui.commands import answer_output

    if as_json:
        return answer_output.JsonOutput(sys.stdout, engine.card)
    if sys.stdout.isatty() and not answer_output.is_dumb_terminal():
        return answer_output.MarkdownOutput()
    return answer_output.PlainOutput(sys.stdout)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks the engine to stop, so that what was said stays; the second one ends the process."""
    asked = False

    def stop(signum: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
