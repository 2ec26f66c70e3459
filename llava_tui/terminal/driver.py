"""Textual's driver for Linux and macOS, which knows a lone Esc sooner.

The sequences of many keys begin with the byte that Esc is; it was Esc when nothing follows. Textual's own driver sees
that nothing followed when it wakes, every 100 ms, and these are all that Esc may take here to stop an answer.
"""

from __future__ import annotations

import codecs
import os
import select

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

ESC = "\x1b"

AWAKE_S = 0.1
"""How often it looks whether the app has ended."""


class QuickEscDriver(LinuxDriver):
    """Waits for keys; after what may be an Esc only as long as Textual waits for the rest of a sequence."""

    def run_input_thread(self) -> None:
        parser = XTermParser(self._debug)
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        patience = AWAKE_S
        while not self.exit_event.is_set():
            text = ""
            if select.select([self.fileno], [], [], patience)[0]:
                data = os.read(self.fileno, 4096)
                if not data:
                    return  # the terminal is gone
                text = decode(data)
                for event in parser.feed(text):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)
            patience = constants.ESCAPE_DELAY if text.endswith(ESC) else AWAKE_S
