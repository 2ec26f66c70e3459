"""A second conformance set in the form of the first, made from it: `python -m tests.conformance.second_set OUT`.

On it all of tests/conformance must pass unseen (`LLAVA_CONFORMANCE=OUT pytest tests/conformance`). Other seeds give
other sets. Nothing in it was computed by our engine or its parity room.

Moved (moved.py): everything in the first set, under other names, with all token ids but the special ones permuted, in
other file formats and shards, tensors and config keys in another order, and with a tokenizer.json beside some
tokenizer.model. What the original computed stays true of it, so its goldens are carried over: forward cases with their
answers, streams, losses, labels, tokens, prompts, pixels, selections. Ids in them are mapped, logits' columns permuted;
where no loss is known, tokenizers also get pieces that no text has. A delta's sums are of bytes that moved: they are
made anew by plain arithmetic, which first has to give the original's own sums.

Remade (remade.py, by plan.py): checkpoints of every kind with other sizes and new random weights; new towers with other
patches, sizes and settings; another delta; a base that only looks like its base. What they compute comes from
transformers' own classes (reference.py: CLIPVisionModel, LlamaForCausalLM, MptForCausalLM) with pictures put among the
embeddings by hand; answers, their stopping and clean-up (answers.py) and June's streams of them (streams.py) are
written out there. Prompts and ids are the first set's, mapped.

New pictures (seen.py) in many sizes and modes, with pixels by transformers' image processor and Pillow, converted to
RGB first and not.

Further (further.py, cases.py): conversations, samples, texts and vocabularies that the first set does not have: such as
begin with the assistant, unknown roles, empty answers, separators and special tokens typed, texts over every limit,
several pictures in any turn, other templates than a checkpoint's own, pieces with scores of their own. Cutting is the
sentencepiece package's; the original's templates, labels and slow tokenizers are written out a second time (written.py,
speech.py) and first have to give every prompt, label and token of the first set.

Not there: training's goldens (train_*), whose sums and rows are of tensors that moved and which only the original's
trainer gives; losses of the remade, for the same reason; new texts by June's fast tokenizer, whose faults with other
vocabularies nothing at hand shows, so new prompts of June's Llamas are put together from old ones. All these are there
for what was moved, training aside.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from tests.conformance.fixtures import FIXTURES
from tests.conformance.remake import seen
from tests.conformance.remake.files import read_json, write_json, write_manifest
from tests.conformance.remake.further import Further
from tests.conformance.remake.moved import Moved
from tests.conformance.remake.names import Names
from tests.conformance.remake.remade import Remade

_README = """# A second conformance set

Made by tests/conformance/second_set.py from the first, seed {seed}. Layout and tolerances are the first set's.
Left out: {left_out}.
"""


def build(out: Path, seed: int, first: Path = FIXTURES) -> None:
    """Write the whole set into an empty folder."""
    torch.set_num_threads(1)
    names = Names(first, seed)
    moved = Moved(first, out, names, seed)
    moved.all()
    Further(out, names, seed).all()
    plain, odd = seen.draw_all(out / "images", names.word, seed)
    remade = Remade(moved, seed, [*plain, *list(names.pictures.values())[:6], *odd])
    remade.all()

    goldens = out / "goldens"
    lines, arrays = seen.golden(out, remade.settings_of_towers(), [*plain, *odd])
    name = f"pixels_{names.word()}"
    write_json(goldens / f"{name}.json", {"commit": "c121f04", "entries": lines})
    np.savez_compressed(goldens / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    file = goldens / "anyres_selection.json"
    write_json(file, [*read_json(file), *seen.selections(seed)])
    (out / "README.md").write_text(_README.format(seed=seed, left_out=", ".join(moved.left_out)), "utf-8")
    write_manifest(out)


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a second conformance set out of the first.")
    parser.add_argument("out", type=Path, help="a folder that is not there yet")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True)
    build(chosen.out, chosen.seed)


if __name__ == "__main__":
    main(sys.argv[1:])
