"""What can be scored: what each set measures, where its files come from, what is needed, and the command."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Benchmark:
    """One set.

    Attributes:
        name: on a command line.
        measures: one line.
        source: where its files are to be had.
        needs: which of them.
        commands: how it is scored; upper-case words are files of yours.
    """

    name: str
    measures: str
    source: str
    needs: str
    commands: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


SETS = (
    Benchmark(
        "scienceqa",
        "school questions with options, half of them with a picture",
        "https://github.com/lupantech/ScienceQA",
        "problems.json and pid_splits.json in one folder; to ask, its pictures",
        (
            "llava eval scienceqa convert --base DIR --format 1.5 -o rows.json",
            "llava eval scienceqa run rows.json --images DIR/test --letters -o answers.jsonl",
            "llava eval scienceqa score answers.jsonl --base DIR",
        ),
    ),
    Benchmark(
        "pope",
        "whether things are said to be there that are not: yes or no",
        "https://github.com/AoiDu/POPE",
        "coco_pope_random.json and its two kin, of the version that the questions were made from",
        ("llava eval score pope answers.jsonl --truth FOLDER --questions llava_pope_test.jsonl",),
    ),
    Benchmark(
        "mme",
        "fourteen abilities, two yes-or-no questions a picture; up to 2000 and 800 points",
        "https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
        "the release's folder of tasks, or the TASK.txt of its evaluation tool",
        ("llava eval score mme answers.jsonl --truth FOLDER",),
    ),
    Benchmark(
        "gqa",
        "relations and attributes in photos, one right answer",
        "https://cs.stanford.edu/people/dorarad/gqa/download.html",
        "testdev_balanced_questions.json, or val's",
        ("llava eval score gqa answers.jsonl --truth testdev_balanced_questions.json",),
    ),
    Benchmark(
        "textvqa",
        "reading in photos; ten people's answers",
        "https://textvqa.org/dataset/",
        "TextVQA_0.5.1_val.json",
        ("llava eval score textvqa answers.jsonl --truth TextVQA_0.5.1_val.json",),
    ),
    Benchmark(
        "vqav2",
        "questions about photos; ten people's answers",
        "https://visualqa.org/download.html",
        "the annotations of val; test-dev and test are scored by their server",
        (
            "llava eval score vqav2 answers.jsonl --truth v2_mscoco_val2014_annotations.json",
            "llava eval export vqav2 answers.jsonl --questions QUESTIONS -o upload.json",
        ),
    ),
    Benchmark(
        "vizwiz",
        "questions that blind people asked of their own photos, some unanswerable",
        "https://vizwiz.org/tasks-and-datasets/vqa/",
        "val.json; test is scored by their server",
        (
            "llava eval score vizwiz answers.jsonl --truth val.json --questions QUESTIONS",
            "llava eval export vizwiz answers.jsonl --questions QUESTIONS -o upload.json",
        ),
    ),
    Benchmark(
        "mmbench",
        "twenty abilities; right only if right however the options are turned",
        "https://github.com/open-compass/MMBench",
        "the table of dev; test is scored by their server",
        (
            "llava eval mmbench run mmbench_dev_20230712.tsv -o answers.jsonl",
            "llava eval score mmbench answers.jsonl --truth mmbench_dev_20230712.tsv",
            "llava eval export mmbench answers.jsonl --truth mmbench_test_20230712.tsv -o upload.xlsx",
        ),
    ),
    Benchmark(
        "seed",
        "twelve abilities in pictures and videos, by option",
        "https://github.com/AILab-CVC/SEED-Bench",
        "SEED-Bench.json",
        ("llava eval score seed answers.jsonl --truth SEED-Bench.json",),
    ),
    Benchmark(
        "mmvet",
        "abilities that are needed together; long answers, graded by a judge",
        "https://github.com/yuweihao/MM-Vet",
        "mm-vet.json and a file of grades; or their space grades the upload",
        (
            "llava eval export mmvet answers.jsonl -o upload.json",
            "llava eval grade mmvet answers.jsonl --truth mm-vet.json -o grades.json --judge MODEL",
            "llava eval mmvet table grades.json --truth mm-vet.json",
        ),
    ),
    Benchmark(
        "llava-bench",
        "conversation, detail and reasoning in the wild, reviewed by a judge beside a reference",
        "https://huggingface.co/datasets/liuhaotian/llava-bench-in-the-wild",
        "questions.jsonl, context.jsonl, a file of reference answers, and LLaVA's rule.json",
        (
            "llava eval review questions.jsonl REFERENCE answers.jsonl --context context.jsonl --rules rule.json "
            "-o reviews.jsonl --judge MODEL",
            "llava eval summarize reviews.jsonl",
        ),
    ),
    Benchmark(
        "pictures",
        "this project's own drawn pictures, twenty kinds of questions",
        "it draws them",
        "nothing",
        ("llava eval pictures",),
    ),
)

LLAVA_FILES = "https://github.com/haotian-liu/LLaVA/blob/main/docs/Evaluation.md"
"""Where LLaVA's files of questions and its published answers are linked."""


def as_text() -> str:
    """For a terminal."""
    blocks = [
        "\n".join(
            [
                f"{one.name}: {one.measures}",
                f"    from   {one.source}",
                f"    needs  {one.needs}",
                *(f"    $ {command}" for command in one.commands),
            ]
        )
        for one in SETS
    ]
    ask = (
        "Questions are asked by: llava eval vqa QUESTIONS --images DIR -o answers.jsonl\n"
        f"LLaVA's files of questions for most sets: {LLAVA_FILES}"
    )
    return "\n\n".join([*blocks, ask])
