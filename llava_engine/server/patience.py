"""uvicorn's protocol, with clocks for all that it would wait for: a request's head, and a client that does not read."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
READ_S = 30.0
MOST_AHEAD = 65_536
"""Bytes of requests to come that are read while one is answered."""
MOST_CONNECTIONS = 800
"""Below the 1,024 files that a process usually may open."""


class PatientProtocol(H11Protocol):
    """One connection. A client that sends or reads a byte a minute is cut off, whatever it holds."""

    _sending: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It has begun."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._watch_sender()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        for timer in (self._sending, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came; is it a whole head?"""
        super().data_received(data)
        self._watch_sender()
        self._listen_on()

    def on_response_complete(self) -> None:
        """All is said; what the client has not read yet is held for so long."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch_reader()
        if self.conn.their_state is h11.SEND_BODY:
            self._watch_sender()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _watch_sender(self) -> None:
        """A head that is not whole, or a body that was answered unread: nobody but this waits for the rest of them."""
        unread = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        waits = (self.conn.their_state is h11.IDLE or unread) and not self.transport.is_closing()
        if waits and self._sending is None:
            self._sending = self.loop.call_later(HEAD_S, self.transport.abort)
        elif not waits and self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _listen_on(self) -> None:
        """Read on while an answer is given, whatever else was said meanwhile: nobody else learns that a client left.

        uvicorn stops at the first byte of a next request; here a beginning of it is kept.
        """
        answering = self.conn.their_state is h11.DONE and not self.transport.is_closing()
        if answering and len(self.conn.trailing_data[0]) < MOST_AHEAD:
            self.flow.resume_reading()

    def _watch_reader(self) -> None:
        if self._reading is None:
            self._reading = self.loop.call_later(READ_S, self._cut_unless_read)

    def _cut_unless_read(self) -> None:
        self._reading = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()
