"""What a new chat shows: sample pictures with a question each, one press away, and what the model at hand can do.

Out: `SampleChosen`. In: the samples (none is fine), and whether the model is the tiny one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Horizontal, Vertical, VerticalScroll

from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.samples import Sample
from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.messages import SampleChosen
from llava_tui.widgets.preview import PictureCells
from llava_tui.widgets.words import Words

if TYPE_CHECKING:
    from PIL import Image

BOX = (24, 9)
BOX_SHORT = (20, 7)

WORDMARK = SafeText("""\
█ █
█ █ ▄▀▀█ █  █ ▄▀▀█
█ █ ▀▄▄█ ▀▄▄▀ ▀▄▄█""")

TINY = SafeText(
    "This tiny model came with llava. It knows drawn shapes and their colours, and nothing of photographs.\n"
    "For photographs, load a real one:  llava chat --model FOLDER"
)
SAMPLES = SafeText("Press one to ask, or paste the path of a picture of yours, and ask.")
ANY = SafeText("Paste the path of a picture, or press Ctrl+O to look for one, and ask.")


class SampleCard(Vertical, can_focus=True):
    """One sample; pressing it asks its question."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "ask", "Ask this", show=False),
        Binding("left", "app.focus_previous", "The sample before", show=False),
        Binding("right", "app.focus_next", "The sample after", show=False),
        Binding("escape", "screen.to_prompt", "Back to the prompt", show=False),
    ]

    def __init__(self, sample: Sample, graphics: Graphics | None) -> None:
        super().__init__()
        self.sample = sample
        self._graphics = graphics

    def compose(self) -> ComposeResult:
        box = BOX if self.app.size.height >= 32 and self.app.size.width >= 90 else BOX_SHORT
        with Center():
            yield PictureCells(
                Shown(one_line(self.sample.picture.name), self.sample.size, self._open), box, self._graphics
            )
        yield Words(strip_control(self.sample.question), classes="question")

    def action_ask(self) -> None:
        self.post_message(SampleChosen(str(self.sample.picture), self.sample.question))

    def on_click(self) -> None:
        self.action_ask()

    def _open(self) -> Image.Image:
        from PIL import Image

        with Image.open(self.sample.picture, formats=["PNG"]) as image:
            return image.convert("RGB")


class Welcome(VerticalScroll, can_focus=False):
    """The empty chat.

    Args:
        samples: what to offer.
        tiny: the model is the one that comes with the package.
        graphics: as for `PictureCells`.
    """

    def __init__(
        self, samples: Sequence[Sample], *, tiny: bool, graphics: Graphics | None = None, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._samples = samples
        self._tiny = tiny
        self._graphics = graphics

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome-body"):
            with Center():
                yield Words(WORDMARK, id="wordmark")
            if self._samples:
                with Center(), Horizontal(id="samples"):
                    for sample in self._samples:
                        yield SampleCard(sample, self._graphics)
            yield Words(SAMPLES if self._samples else ANY, id="how")
            what = Words(TINY, id="what")
            what.display = self._tiny
            yield what

    def introduce(self, about: Sequence[str]) -> None:
        """Say what the model at hand turned out to be, once it is known."""
        if about and not self._tiny:
            what = self.query_one("#what", Words)
            what.say(strip_control("\n".join(about)))
            what.display = True
