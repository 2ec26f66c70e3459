"""`llava ask`: one question, its pictures, one answer.

In: the command line and standard input. Out: the answer on standard output, in one of the three ways of
answer_output.py; everything else goes to standard error. Knows an engine by its contract only.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from llava_engine.contract import EngineLike, Progress, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ContextOverflowError, ConversationError
from llava_engine.opening import AUTO, EngineSource, Placement, refuse_with_engine
from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui import gc_pause
from llava_tui.commands import options
from llava_tui.commands.ask_input import what_is_asked
from llava_tui.commands.known_folders import remember_model
from llava_tui.commands.progress_line import ProgressLine
from llava_tui.commands.say import say
from llava_tui.session.model_words import title_of

if TYPE_CHECKING:
    from llava_engine.pictures.opening import Picture
    from llava_tui.commands.answer_output import AnswerOutput

FEW_PICTURES = 8
"""So many are opened before the model is asked what it can hold: at 12 megapixels they take 0.3 GB, and most LLaVAs
(576 tokens a picture, a context of 4,096) hold no more than 7."""

app = typer.Typer()


@app.command(
    epilog="""\b
Examples:
  llava ask -i photo.jpg -q "What is this?"
  llava ask -i photo.jpg                      describes it
  llava ask "Who are you?"                    needs no picture
  llava ask *.png -q "What differs?"
  echo "How many are there?" | llava ask -i photo.jpg
  cat error.log | llava ask -i screen.png "What went wrong?"
  llava ask -i https://example.org/a.png -q "What is this?" --json
  llava ask -i photo.jpg --engine http://gpu1:8000
"""
)
@options.opening
def ask(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY] [PICTURE]...", help="The question in quotes; pictures, as with -i.", show_default=False
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--image", "-i", metavar="FILE|URL|-", help="A picture; may be given again. - is standard input."),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", metavar="TEXT|-", help="The question. - is standard input.")
    ] = None,
    *,
    source: EngineSource,
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
    placement: Placement,
) -> None:
    """Ask one question about any number of pictures.

    The question is an argument, --query, or what a pipe or a file brings on standard input; where there is a question,
    that is added to it. Standard input that the program around llava reads too (a loop over a list) is left alone, and
    a pipe that stays silent is given up after 2 seconds: - reads and waits in any case. With a picture and no question
    the picture is described. In a pipe the answer is all that is printed.
    """
    question, named = what_is_asked(words or [], images or [], query)
    _check_room(len(named), source, placement)
    sampling = Sampling(temperature=temperature, seed=seed, max_new_tokens=max_new_tokens)
    pictures = [_open(name) for name in named]
    conversation = Conversation((Message.user(question, pictures),), system)
    gc_pause.rest()
    try:
        engine = _load(source, placement, parity)
    finally:
        gc_pause.resume()
    remember_model(engine.card)
    for note in engine.card.notes:
        say(one_line(note), err=True)
    with closing(engine), _interruptible() as cancelled, _output(engine, as_json) as output, ProgressLine() as line:
        if pictures and "pictures" in engine.card.cannot:
            raise ConversationError(
                f"{engine.card.name} can not see pictures.", "Leave them out, or ask another model."
            )
        for piece in engine.stream(conversation, sampling, cancelled=cancelled):
            if isinstance(piece, Progress):
                line.show(piece)
                continue
            line.clear()
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
    card = engine.card
    words = [f"{reply.completion_tokens} tokens"]
    if reply.tokens_per_second:
        words[0] += f" at {reply.tokens_per_second:.1f}/s"
    words[0] += f", the first after {reply.time_to_first_token_s:.2f} s"
    if reply.prompt_tokens:  # some servers do not say
        pictures = f"{sum(reply.picture_tokens)} of pictures, " if reply.picture_tokens or not card.where else ""
        words.append(f"prompt {reply.prompt_tokens} tokens ({pictures}{reply.cached_tokens} cached)")
    words.append(title_of(card) if card.where else f"{card.name}, {card.device}, {card.dtype}, {card.kernel}")
    return one_line(" · ".join(words))


def _check_room(pictures: int, source: EngineSource, placement: Placement) -> None:
    """Refuse more pictures than the context can hold before one is opened; the engine counts again, exactly."""
    if pictures <= FEW_PICTURES or source.engine is not None:  # what a server can hold it may say itself
        return
    from llava_engine.backends.opening import foreign
    from llava_engine.checkpoints.open import open_source

    if foreign(source) is not None:  # what a picture costs there, only its processor knows
        return
    config = open_source(source).config
    tokens, limit = pictures * config.picture_tokens, placement.context or config.language.max_position_embeddings
    if tokens >= limit:
        raise ContextOverflowError(tokens, limit, at_least=True)


def _open(source: str) -> Picture:
    from llava_engine.pictures.opening import MAX_BYTES, open_picture

    if source == "-":
        # One byte more than is allowed, so that the picture's own check can refuse it.
        return open_picture(sys.stdin.buffer.read(MAX_BYTES + 1), name="standard input")
    return open_picture(source)


def _load(source: EngineSource, placement: Placement, parity: bool) -> EngineLike:
    from llava_engine.backends.opening import open_engine

    load: Callable[[EngineSource, Placement], EngineLike] = _load_original if parity else open_engine
    if not sys.stderr.isatty():
        return load(source, placement)
    from rich.console import Console

    with Console(stderr=True).status("Loading the model" if source.engine is None else "Asking the server"):
        return load(source, placement)


def _load_original(source: EngineSource, placement: Placement) -> EngineLike:
    """An engine that answers as the original; it is as it is, so that nothing else can be set."""
    if source.engine is not None:
        refuse_with_engine(["--parity"])
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
