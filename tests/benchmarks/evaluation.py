"""What answering a file of questions costs beside asking one by one, and what scoring costs.

    python tests/benchmarks/evaluation.py [--only equal,rate,memory,kills,score,startup] [--questions 200] [--rounds 3]
        [--layers 16 --width 512] [--pictures 32] [--slots 8] [--kills 50] [--models FOLDER]

equal    tiny models (of --models, or one drawn here) and the embedded one: how many of so many answers are, token for
         token, those of one by one; per form. Only float32 promises it.
rate     a random model of about 60M parameters with 256 picture tokens: CPU seconds one by one over those together, by
         turns; short and long answers, a picture each or four questions to one. Above 1 together wins.
memory   most memory of a process that answers 200 and 2,000 questions, each about a picture of its own.
kills    `llava eval vqa` killed (SIGKILL) at so many random moments and begun again: its file beside a whole run's.
score    seconds of scoring 4,241 rows of ScienceQA and 4,377 of MMBench, in one process.
startup  wall seconds of `llava eval score`, in all and beside an empty interpreter; whether torch was imported.

CPU seconds are of this process, with one thread. Nothing is asserted; sizes are flags.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from llava_engine import load
from llava_engine.contract import EngineLike, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import LlavaError
from llava_engine.many import answer_all
from llava_engine.pictures.opening import open_picture
from llava_engine.questions import Question
from tests.benchmarks.decoding import shape
from tests.llava_engine.tiny import TILED, TINY, complete

ROOT = Path(__file__).resolve().parents[2]
LLAVA = [sys.executable, "-c", "from llava_tui.cli import main; main()"]
FORMS = (("float32", "none"), ("bfloat16", "none"), ("float32", "int8"), ("float32", "int4"))

Asked = list[tuple[str, Path]]
"""Texts, each with its picture."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="equal,rate,memory,kills,score,startup")
    parser.add_argument(
        "--questions", type=int, default=200, help="of `equal` and `kills`; `memory` asks 10 times that"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--pictures", type=int, default=32, help="questions of `rate`")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--models", type=Path, help="a folder of checkpoints, for `equal`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in options.only.split(","):
            print(f"{part}:", flush=True)
            {
                "equal": lambda: equal(folder, options.models, options.questions, options.slots),
                "rate": lambda: rate(folder, options),
                "memory": lambda: memory(folder, options.questions, options.slots),
                "kills": lambda: kills(folder, options.questions, options.kills),
                "score": lambda: score(folder),
                "startup": lambda: startup(folder, options.rounds),
            }[part]()


# ---- what is asked ----


def drawn(folder: Path, count: int, a_picture: int = 1, side: int = 224) -> Asked:
    """Questions of different lengths, so many to a picture; in no order, as files of questions are."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(0)
    asked = []
    for number in range(count):
        path = folder / f"{side}-{number // a_picture}.png"
        if not path.exists():
            Image.frombytes("RGB", (8, 8), generator.randbytes(192)).resize(
                (side, side), Image.Resampling.NEAREST
            ).save(path)
        asked.append((f"What is {number}? {'Say it in short. ' * generator.randrange(4)}".strip(), path))
    generator.shuffle(asked)
    return asked


def one_by_one(engine: EngineLike, asked: Asked, sampling: Sampling) -> list[tuple[int, ...]]:
    """The answers' ids."""
    found = []
    for text, path in asked:
        conversation = Conversation((Message.user(text, [open_picture(path)]),))
        *_, reply = engine.stream(conversation, sampling)
        assert isinstance(reply, Reply)
        found.append(reply.token_ids)
    return found


def together(engine: EngineLike, asked: Asked, sampling: Sampling) -> list[tuple[int, ...]]:
    """The same by many.py."""
    found: dict[int, tuple[int, ...]] = {}
    for answered in answer_all(
        engine, (Question.about(at, text, [path]) for at, (text, path) in enumerate(asked)), sampling
    ):
        if not isinstance(answered.outcome, Reply):
            raise answered.outcome
        found[answered.key] = answered.outcome.token_ids
    return [found[at] for at in range(len(asked))]


# ---- the parts ----


def equal(folder: Path, models: Path | None, count: int, slots: int) -> None:
    """Counts of answers that are those of one by one."""
    if models is None:
        places = [complete(TINY, folder / "tiny"), complete(TILED, folder / "tiles")]
    else:
        places = sorted(path.parent for path in models.glob("*/config.json"))
    asked = drawn(folder / "pictures", count, 2)
    for place in [None, *places]:
        for dtype, quantize in FORMS:
            name = "embedded" if place is None else place.name
            form = quantize if quantize != "none" else dtype
            try:
                engine = load(place, device="cpu", dtype=dtype, quantize=quantize, slots=slots)
            except LlavaError as error:
                print(f"  {name:<24} is not opened: {error.cause[:60]} …")
                break
            sampling = Sampling(max_new_tokens=24)
            alone, many = one_by_one(engine, asked, sampling), together(engine, asked, sampling)
            same = sum(one == other for one, other in zip(alone, many, strict=True))
            print(f"  {name:<24} {form:<9} {same} of {count} equal", flush=True)
            engine.close()


def rate(folder: Path, options: argparse.Namespace) -> None:
    """CPU seconds one by one over those together."""
    config = shape(options.layers, options.width)
    place = complete(replace(config, language=replace(config.language, vocab_size=8000)), folder / "60M")
    for dtype in ("float32", "bfloat16"):
        alone = load(place, device="cpu", dtype=dtype, slots=1)
        many = load(place, device="cpu", dtype=dtype, slots=options.slots)
        print(f"  {(many.card.parameters or 0) / 1e6:.0f}M, {many.card.kernel}, {options.slots} slots")
        for a_picture in (1, 4):
            asked = drawn(folder / "pictures", options.pictures, a_picture)
            for tokens in (4, 48):
                sampling = Sampling(max_new_tokens=tokens)
                ratios = []
                for _ in range(options.rounds):
                    first = took(lambda: one_by_one(alone, asked, sampling))  # noqa: B023 - called at once
                    ratios.append(first / took(lambda: together(many, asked, sampling)))  # noqa: B023
                shared = "a picture each" if a_picture == 1 else f"{a_picture} questions a picture"
                print(f"    {tokens:2} tokens, {shared:<22} x {statistics.median(ratios):.2f}", flush=True)
        alone.close()
        many.close()


def took(action: Callable[[], object]) -> float:
    """CPU seconds."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


ANSWER = """
import resource, sys
from pathlib import Path
from llava_engine import load
from llava_engine.contract import Sampling
from llava_engine.many import answer_all
from llava_engine.questions import Question
folder, count, slots = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
engine = load(device="cpu", slots=slots)
asked = (Question.about(n, f"What is {n}?", [folder / f"1200-{n % 200}.png"]) for n in range(count))
assert sum(1 for _ in answer_all(engine, asked, Sampling(max_new_tokens=8))) == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory(folder: Path, count: int, slots: int) -> None:
    """The most memory of a process that answers so many questions, and ten times so many."""
    drawn(folder / "large", 200, 1, side=1200)
    peaks = []
    for asked in (count, 10 * count):
        command = [sys.executable, "-c", ANSWER, str(folder / "large"), str(asked), str(slots)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
        print(f"  {asked:5} questions: {peaks[-1]:.0f} MiB", flush=True)
    print(f"  difference {peaks[1] - peaks[0]:+.0f} MiB")


def kills(folder: Path, count: int, times: int) -> None:
    """Runs that are killed at random moments end as one that is not."""
    images = folder / "killed"
    rows = (
        {"question_id": n, "image": path.name, "text": text} for n, (text, path) in enumerate(drawn(images, count, 3))
    )
    questions = lines(folder / "questions.jsonl", rows)
    command = [*LLAVA, "eval", "vqa", str(questions), "--images", str(images), "--slots", "4", "--out"]
    whole, out = folder / "whole.jsonl", folder / "out.jsonl"
    begun = time.perf_counter()
    subprocess.run([*command, str(whole)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds, generator, killed = time.perf_counter() - begun, random.Random(0), 0
    wanted, same = whole.read_bytes(), 0
    while killed < times:
        for path in folder.glob("out.*"):
            path.unlink()
        while True:
            process = subprocess.Popen(
                [*command, str(out)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(generator.uniform(0, seconds) if killed < times else None)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            break
        same += out.read_bytes() == wanted
        print(f"  {killed} kills: {'the same bytes' if out.read_bytes() == wanted else 'OTHER BYTES'}", flush=True)


def score(folder: Path) -> None:
    """Seconds of scoring, files read and intervals drawn, without the start."""
    from training.evaluation.answers import read_answers
    from training.evaluation.choices import score_mmbench
    from training.evaluation.result_text import as_text
    from training.evaluation.scienceqa import read_problems, score_scienceqa

    base = folder / "scienceqa"
    base.mkdir()
    generator = random.Random(0)
    problems = {
        str(n): {
            "question": f"Which is {n}?", "choices": ["a", "b", "c"], "answer": n % 3, "hint": "So." if n % 2 else "",
            "image": None, "subject": "natural science", "grade": f"grade{n % 12 + 1}", "lecture": "L" * 500,
        }
        for n in range(4241)
    }  # fmt: skip
    (base / "problems.json").write_text(json.dumps(problems))
    (base / "pid_splits.json").write_text(json.dumps({"test": list(problems)}))
    said = [f"Reasons. The answer is {generator.choice('ABC')}." for _ in problems]
    answers = lines(base / "answers.jsonl", ({"question_id": n, "text": text} for n, text in enumerate(said)))
    begun = time.perf_counter()
    as_text(score_scienceqa(read_answers(answers), read_problems(base)))
    print(f"  ScienceQA, 4,241 rows: {time.perf_counter() - begun:.2f} s")
    with (folder / "mmbench.tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["index", "question", "A", "B", "C", "D", "answer", "category", "l2-category", "image"])
        for n in range(4377):
            index = n % 1164 + 10**6 * (n // 1164)
            table.writerow(
                [index, "Which?", "one", "two", "three", "four", "ABCD"[n % 4], f"c{n % 20}", f"l{n % 6}", "x" * 9]
            )
    rows = ({"question_id": n % 1164 + 10**6 * (n // 1164), "text": generator.choice("ABCD")} for n in range(4377))
    answers = lines(folder / "mmbench.jsonl", rows)
    begun = time.perf_counter()
    as_text(score_mmbench(read_answers(answers), folder / "mmbench.tsv"))
    print(f"  MMBench, 4,377 rows: {time.perf_counter() - begun:.2f} s")


def startup(folder: Path, rounds: int) -> None:
    """Wall seconds of a command that scores three answers, and what it imported."""
    truth = {
        str(n): {
            "isBalanced": True, "answer": "red", "question": "Which?", "semantic": [], "groups": {"global": None},
            "types": {"structural": "query", "semantic": "attr"},
        }
        for n in range(3)
    }  # fmt: skip
    (folder / "gqa.json").write_text(json.dumps(truth))
    answers = lines(folder / "gqa.jsonl", ({"question_id": of, "text": "Red."} for of in truth))
    command = ["eval", "score", "gqa", str(answers), "--truth", str(folder / "gqa.json")]
    walls: dict[str, list[float]] = {"llava eval score": [], "an empty interpreter": []}
    for _ in range(rounds):
        for name, words in (
            ("llava eval score", [*LLAVA, *command]),
            ("an empty interpreter", [sys.executable, "-c", ""]),
        ):
            begun = time.perf_counter()
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            walls[name].append(time.perf_counter() - begun)
    for name, found in walls.items():
        print(f"  {name:<22} {min(found):.2f} s at best, {statistics.median(found):.2f} in the middle")
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", *LLAVA[1:], *command], cwd=ROOT, check=True, capture_output=True, text=True
    ).stderr
    names = {line.rpartition("|")[2].strip() for line in imported.split("\n")}
    print(f"  torch is {'IMPORTED' if 'torch' in names else 'not imported'}")


def lines(path: Path, rows: Iterable[dict[str, object]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


if __name__ == "__main__":
    main()
