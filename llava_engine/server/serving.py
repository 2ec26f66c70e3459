"""The server as a process: it listens before the model is loaded, and ends when it is told to, without cutting answers.

The first SIGTERM or Ctrl-C drains: nothing new, those who wait are sent away, what is being said has 20 seconds. The
second ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from llava_engine.contract import EngineLike
from llava_engine.errors import LoadCancelledError, UsageError
from llava_engine.server.app import make_app
from llava_engine.server.journal import Form, WriteLine
from llava_engine.server.patience import PatientProtocol
from llava_engine.server.service import Service
from llava_engine.server.settings import Settings

DRAIN_S = 20.0
_KEEP_ALIVE_S = 30
_LAST_TOKEN_S = 2.0  # what is cancelled ends within a token

OpenEngine = Callable[[Callable[[], bool]], EngineLike]
"""Loads the model; asks its argument often whether to give up."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: the address is none of this machine's, or taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host can not be {host!r}: it leads nowhere.", "Say an address of this machine.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{host}:{port} can not be listened at: {error.strerror}.", "Choose another with --port or --host."
        ) from error
    return listening


async def serve(
    open_engine: OpenEngine,
    settings: Settings,
    listening: socket.socket,
    *,
    write: WriteLine,
    form: Form = "text",
    on_ready: Callable[[EngineLike], None] = lambda engine: None,
) -> signal.Signals | None:
    """Serve until a signal comes.

    Args:
        open_engine: loads the model, on a thread; requests are told to come back until then.
        settings: how requests are met.
        listening: where; it is closed at the end.
        write: takes the log's lines.
        form: of the lines.
        on_ready: told when the model is there.

    Returns:
        The signal that ended it.

    Raises:
        LlavaError: the model can not be loaded.
    """
    service = Service(settings)
    server = _Server(
        uvicorn.Config(
            make_app(service, write, form), http=PatientProtocol, ws="none", loop="asyncio", lifespan="off",
            log_config=None, log_level="error", access_log=False, proxy_headers=False, server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=int(_LAST_TOKEN_S),
        )
    )  # fmt: skip
    ending = _Ending()
    with ending.heard():
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        loading = asyncio.ensure_future(asyncio.to_thread(open_engine, ending.came.is_set))
        try:
            engine = await loading
            service.ready(engine)
            on_ready(engine)
            await ending.wait()
            await _drain(service)
        except LoadCancelledError:
            pass  # by the signal
        finally:
            service.drain()
            server.should_exit = True
            await serving
            service.close()
    return ending.signal


async def _drain(service: Service) -> None:
    """Let those finish who are being answered; end what takes too long."""
    service.drain()
    for seconds in (DRAIN_S, _LAST_TOKEN_S):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not service.is_idle:
                    await asyncio.sleep(0.02)
        service.cancel_all()


class _Server(uvicorn.Server):
    """uvicorn closes its doors at the first signal; ours stay open, so that whoever asks is told that it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class _Ending:
    """The signal that ends the server."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.came = threading.Event()
        self._news = asyncio.Event()

    async def wait(self) -> None:
        """Until it comes."""
        await self._news.wait()

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Within this block; the second one has its usual effect, at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread has signals
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._come, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _come(self, number: signal.Signals) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.signal = number
        self.came.set()
        self._news.set()
