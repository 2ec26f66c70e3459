"""What a message says of a picture -> an opened picture; those of late requests are kept, for clients send all again.

A stranger names them, so that nothing but `data:` URLs is read, and addresses on hosts that the server was told; bytes
are handed on, never a text that could be a path. Headers are looked at when a request comes, pixels when it is its
turn; both in two threads, so that pictures never take the whole machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from llava_engine.errors import PictureError
from llava_engine.pictures.fetching import ForbiddenAddressError, fetch
from llava_engine.pictures.kinds import accepted
from llava_engine.pictures.opening import Picture, open_picture
from llava_engine.pictures.reading import MAX_BYTES, read_data_url
from llava_engine.pictures.squared import squared
from llava_engine.server.conversation import PictureAddress
from llava_engine.server.problems import invalid
from llava_engine.server.protocol import PictureMode
from llava_engine.server.settings import Settings

KEPT_BYTES = 256 * 2**20
DECODED_BYTES = 2**30
"""Of the pictures of all requests that are being answered. A picture of a few kB may have 40 million pixels."""
_THREADS = 2
_FETCHES = 4
_FETCH_S = 15.0

_T = TypeVar("_T")


class Pictures:
    """The pictures of the requests of late, by the hash of their bytes.

    Attributes:
        kept_bytes: what is kept takes so much memory.
    """

    def __init__(self, settings: Settings) -> None:
        self.kept_bytes = 0
        self._settings = settings
        self._used: WeakValueDictionary[tuple[str, PictureMode], Picture] = WeakValueDictionary()
        self._decoded = 0
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()
        self._kept: OrderedDict[tuple[str, PictureMode], tuple[Picture, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "pictures")
        self._fetches = ThreadPoolExecutor(_FETCHES, "fetches")

    async def open(self, addresses: Sequence[PictureAddress], mode: PictureMode) -> list[Picture]:
        """Open pictures by their headers.

        Raises:
            Problem: one can not be read or trusted, or may not be fetched; `param` says which.
        """
        if len(addresses) > self._settings.max_pictures:
            raise invalid(
                f"There are {len(addresses)} pictures; {self._settings.max_pictures} at most.",
                "messages",
                "invalid_image",
            )
        return [await self._open(address, mode) for address in addresses]

    async def take_room(self, pictures: Sequence[Picture]) -> int:
        """Wait until there is room for so many decoded pictures, first come, first served; how much, for `give_back`.

        Those of one request that need more than there is are let in when nobody else has any.
        """
        room = sum(3 * width * height for width, height in {one.sha256: one.size for one in pictures}.values())
        if room:
            async with self._turn:
                while self._decoded and self._decoded + room > DECODED_BYTES:
                    self._freed.clear()
                    await self._freed.wait()
                self._decoded += room
        return room

    def give_back(self, room: int) -> None:
        """A request is over, and its pictures with it."""
        self._decoded -= room
        self._freed.set()

    async def look_at(self, pictures: Sequence[Picture], mode: PictureMode) -> None:
        """Decode what is not decoded yet, and keep it.

        Raises:
            PictureError: one is damaged.
        """
        for picture in pictures:
            await self._in(self._pool, partial(getattr, picture, "image"))
            if mode == "default":  # another was kept when it was made
                self._keep((picture.sha256, mode), picture)

    def close(self) -> None:
        """End the threads; what they do now is done to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._fetches.shutdown(wait=False, cancel_futures=True)

    async def _open(self, address: PictureAddress, mode: PictureMode) -> Picture:
        try:
            if address.url[:5].lower() == "data:":
                return await self._in(self._pool, partial(self._opened, partial(read_data_url, address.url), mode))
            fetched = await self._in(self._fetches, partial(self._fetch, address))
            return await self._in(self._pool, partial(self._opened, lambda: fetched, mode))
        except PictureError as error:
            raise invalid(f"{error.cause} {error.remedy}", address.param, "invalid_image") from error

    def _opened(self, read: Callable[[], bytes], mode: PictureMode) -> Picture:
        data = read()
        key = hashlib.sha256(data).hexdigest(), mode
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            if (known := self._used.get(key)) is not None:
                return known
        # The name is shown in errors only.
        picture = open_picture(data, name="The picture", max_pixels=self._settings.max_pixels, later=True)
        if mode != "default":
            picture = open_picture(squared(picture.image, mode), name=picture.name)
            self._keep(key, picture)
        with self._lock:  # shown several times, or by several requests: decoded once
            return self._used.setdefault(key, picture)

    def _fetch(self, address: PictureAddress) -> bytes:
        hosts = self._settings.fetch_from
        scheme, _, rest = address.url.partition(":")
        if scheme.lower() not in ("http", "https") or not rest.startswith("//") or not hosts:
            raise invalid(
                "This server takes pictures as data: URLs only."
                if not hosts
                else f"This server fetches pictures over https from {', '.join(sorted(hosts))} only.",
                address.param,
                "image_url_not_allowed",
            )
        try:
            return fetch(address.url, max_bytes=MAX_BYTES, timeout_s=_FETCH_S, accept=accepted(), hosts=hosts)
        except ForbiddenAddressError as error:
            raise invalid(f"{error.cause} {error.remedy}", address.param, "image_url_not_allowed") from error

    def _keep(self, key: tuple[str, PictureMode], picture: Picture) -> None:
        width, height = picture.image.size
        cost = len(picture.data) + 3 * width * height
        with self._lock:
            if key in self._kept or cost > KEPT_BYTES:
                return
            self._kept[key] = picture, cost
            self.kept_bytes += cost
            while self.kept_bytes > KEPT_BYTES:
                self.kept_bytes -= self._kept.popitem(last=False)[1][1]

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, action: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(pool, action)
