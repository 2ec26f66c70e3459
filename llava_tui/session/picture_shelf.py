"""Pictures of kept turns, opened again from their bytes; the latest few stay open.

Safe in any thread: the engine's asks for a conversation's pictures, the screen's workers for previews.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from llava_engine.pictures.opening import Picture, open_picture
from llava_tui.history.turns import PictureRef

OPEN_PICTURES = 16


class PictureShelf:
    """References in, pictures out.

    Args:
        read: SHA-256 -> original bytes; raises StorageError when they are gone.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._open: OrderedDict[str, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, picture: Picture) -> None:
        """Remember a picture that is open anyhow."""
        with self._lock:
            self._open[picture.sha256] = picture
            self._open.move_to_end(picture.sha256)
            while len(self._open) > OPEN_PICTURES:
                self._open.popitem(last=False)

    def get(self, ref: PictureRef) -> Picture:
        """The picture. Tens of ms when it is not open. Raises StorageError or PictureError."""
        with self._lock:
            picture = self._open.get(ref.sha256)
        if picture is None:
            picture = open_picture(self._read(ref.sha256), name=ref.name)
        self.put(picture)
        return picture
