"""How much is read at once and kept between calls: numbers that decoding keeps to and the plan of memory counts on."""

PREFILL_CHUNK = 512
"""Positions of a prompt that go through the layers at once: so few that a cancel is heard within a long prompt,
and that its scores, (heads, chunk, positions read so far), stay small beside the weights."""

KEPT_PICTURE_TOKENS = 32 * 576
"""Tokens of pictures whose features are kept for later turns: 32 pictures of LLaVA 1.5's, of 24 x 24 patches each."""
