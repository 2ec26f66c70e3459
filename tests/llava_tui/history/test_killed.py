"""A process that is killed in the middle of an answer has kept what it had saved, and the history opens as usual."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llava_tui.history.store import Store
from llava_tui.session.session import ChatSession
from tests.fakes.fake_engine import FakeEngine, fake_loader
from tests.fakes.fake_picture import fake_picture

ROOT = Path(__file__).parents[3]

# Saves at each look instead of each second, so that "what was seen a save ago" is exact and the test is quick.
PROGRAM = """
import sys, time
from pathlib import Path
from llava_tui.session import growing_answer
from llava_tui.session.events import AnswerGrew
from llava_tui.session.session import ChatSession
from llava_tui.history.store import Store
from tests.fakes.fake_engine import FakeEngine, fake_loader
from tests.fakes.fake_picture import fake_picture

growing_answer.SAVE_EVERY_S = 0.0
words = [step for number in range(5000) for step in (f"w{number} ", 0.0005)]
session = ChatSession(Store.open(Path(sys.argv[1])), open_source=lambda source: fake_picture(str(source)))
session.load(fake_loader(FakeEngine(words)))
session.attach("cat.png")
session.send("What is it?")
said = ""
while True:
    said += "".join(event.text for event in session.poll() if isinstance(event, AnswerGrew))
    print(len(said), flush=True)
    time.sleep(0.001)
"""


def test_kill_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    for _ in range(3):  # the second and third time over what the first left behind
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        length = 0
        while length < 100:
            line = process.stdout.readline()
            assert line, "the program ended by itself"
            length = int(line)
        process.kill()
        shown = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        length = max([length, *shown])

        store = Store.open(tmp_path)
        assert store.saved
        assert store.take_notices() == []
        session = ChatSession(store)
        assert session.open_last()
        question, answer = session.page()
        everything = "".join(f"w{number} " for number in range(5000))
        assert question.text == "What is it?"
        assert session.picture(question.pictures[0]).data == fake_picture().data
        assert answer.status == "interrupted"
        assert len(answer.text) >= length
        assert everything.startswith(answer.text)

        session.load(fake_loader(FakeEngine(("and on",))))
        session.send("Go on.")
        while session.page()[-1].text != "and on":
            session.poll()
        session.close()
