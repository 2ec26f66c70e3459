"""Looks for a picture in the folders of this machine, with a preview. Out: the path of the chosen one, or None."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Horizontal, Middle, Vertical
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree, Tree
from textual.widgets.directory_tree import DirEntry

from llava_engine.errors import PictureError
from llava_engine.pictures.kinds import PICTURE_SUFFIXES
from llava_engine.pictures.opening import open_picture
from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.preview import PictureCells
from llava_tui.widgets.words import Words

if TYPE_CHECKING:
    from rich.text import TextType

PREVIEW_PIXELS = 800  # of the longer side: as many as the largest terminal has half cells


class PictureTree(DirectoryTree):
    """Folders, and in them only pictures."""

    ICON_NODE = "▸ "
    ICON_NODE_EXPANDED = "▾ "
    ICON_FILE = "  "

    def process_label(self, label: TextType) -> Text:
        """A name of the disk, as it may be shown: whoever packed an archive chose it."""
        return Text(one_line(str(label)) or "?")

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [
            path
            for path in paths
            if not path.name.startswith(".") and (path.suffix.lower() in PICTURE_SUFFIXES or _is_folder(path))
        ]


class PicturePicker(ModalScreen[str | None]):
    """A tree of folders at the left, the picture under the cursor at the right.

    Args:
        graphics: as for `PictureCells`.
        folder: where to begin; the current one when None.
    """

    CSS_PATH = "picture_picker.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", show=False),
        Binding("backspace,left", "up", "The folder above", show=False),
    ]

    def __init__(self, graphics: Graphics | None, folder: Path | None = None) -> None:
        super().__init__()
        self._graphics = graphics
        self._folder = (folder or Path.cwd()).resolve()

    def compose(self) -> ComposeResult:
        with Vertical(id="picker"):
            yield Words(SafeText("Attach a picture"), id="heading")
            yield Words(id="folder")
            with Horizontal():
                yield PictureTree(self._folder)
                with Vertical(id="look"):
                    with Middle():
                        yield Center(id="frame")
                    yield Words(id="caption")
            yield Words(SafeText("Enter attach or open   ← folder above   Esc close"), id="foot")

    def on_mount(self) -> None:
        self.query_one("#frame").display = False
        self._show_folder()

    def _show_folder(self) -> None:
        self.query_one("#folder", Words).say(one_line(str(self._folder)))

    def action_up(self) -> None:
        """Show the folder above."""
        if self._folder.parent != self._folder:
            self._folder = self._folder.parent
            self.query_one(PictureTree).path = self._folder
            self._show_folder()

    def on_directory_tree_file_selected(self, event: DirectoryTree.FileSelected) -> None:
        event.stop()
        self.dismiss(str(event.path))

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[DirEntry]) -> None:
        path = event.node.data.path if event.node.data else None
        self._look(path if path and path.suffix.lower() in PICTURE_SUFFIXES else None)

    @work(exclusive=True)
    async def _look(self, path: Path | None) -> None:
        """Show the picture at this path; the newest wish wins."""
        frame = self.query_one("#frame")
        frame.display = False  # an empty container would show its own name
        await frame.remove_children()
        caption = self.query_one("#caption", Words)
        if path is None:
            caption.say(SafeText(""))
            return
        shown = await self.run_worker(lambda: _preview(path), thread=True, exit_on_error=False).wait()
        if isinstance(shown, PictureError):
            caption.say(shown.cause)
            return
        room = self.query_one("#look").size
        box = (max(4, room.width - 2), max(2, room.height - 4))
        await frame.mount(PictureCells(shown, box, self._graphics))
        frame.display = True
        caption.say(strip_control(f"{shown.name}\n{shown.measures}"))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _preview(path: Path) -> Shown | PictureError:
    """The picture, made small; or why there is none to see."""
    try:
        picture = open_picture(path, draft_to=PREVIEW_PIXELS)
    except PictureError as error:
        return error
    small = picture.image.copy()
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    return Shown(one_line(path.name), picture.size, lambda: small)
