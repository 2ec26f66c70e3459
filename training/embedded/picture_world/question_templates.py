"""All templates of questions by family, and the words for sides, places, sizes and styles that fill them."""

from __future__ import annotations

from training.embedded.picture_world.held_out_templates import HELD_OUT as HELD_OUT
from training.embedded.picture_world.ways import Ways
from training.embedded.picture_world.ways_core import CORE_WAYS
from training.embedded.picture_world.ways_looks import LOOK_WAYS
from training.embedded.picture_world.ways_pictures import PICTURE_WAYS
from training.embedded.picture_world.ways_places import PLACE_WAYS
from training.embedded.picture_world.ways_sets import SET_WAYS
from training.embedded.picture_world.ways_talk import TALK_WAYS
from training.embedded.picture_world.ways_turns import TURN_WAYS

ASKED: dict[str, Ways] = {**CORE_WAYS, **PLACE_WAYS, **LOOK_WAYS, **SET_WAYS, **TURN_WAYS, **PICTURE_WAYS, **TALK_WAYS}

SIDE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of", "on the left side of", "to the left side of"),
    "right": ("to the right of", "right of", "on the right of", "on the right side of", "to the right side of"),
    "above": ("above", "over", "higher up than", "on top of", "higher than"),
    "below": ("below", "under", "beneath", "underneath", "lower than", "lower down than"),
}
SAID_SIDE = {side: words[0] for side, words in SIDE_WORDS.items()}

REGIONS = {
    (0, 0): "at the top left",
    (1, 0): "at the top",
    (2, 0): "at the top right",
    (0, 1): "on the left",
    (1, 1): "in the middle",
    (2, 1): "on the right",
    (0, 2): "at the bottom left",
    (1, 2): "at the bottom",
    (2, 2): "at the bottom right",
}
REGION_WORDS = {
    "at the top left": ("at the top left", "in the top left corner", "in the upper left", "at the upper left"),
    "at the top": ("at the top", "at the top in the middle", "in the upper middle"),
    "at the top right": ("at the top right", "in the top right corner", "in the upper right"),
    "on the left": ("on the left", "on the left side", "in the middle left"),
    "in the middle": ("in the middle", "in the centre", "in the center"),
    "on the right": ("on the right", "on the right side", "in the middle right"),
    "at the bottom left": ("at the bottom left", "in the bottom left corner", "in the lower left"),
    "at the bottom": ("at the bottom", "at the bottom in the middle", "in the lower middle"),
    "at the bottom right": ("at the bottom right", "in the bottom right corner", "in the lower right"),
}

EDGES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
EDGE_WORDS = {
    "left": (
        *("on the left", "on the left side", "on the left hand side", "at the left", "to the left"),
        *("on the left-hand side", "somewhere on the left", "over on the left"),
    ),
    "right": (
        *("on the right", "on the right side", "on the right hand side", "at the right", "to the right"),
        *("on the right-hand side", "somewhere on the right", "over on the right"),
    ),
    "top": ("at the top", "on the top", "up at the top", "near the top", "up top", "along the top"),
    "bottom": (
        *("at the bottom", "on the bottom", "down at the bottom", "near the bottom"),
        "along the bottom",
    ),
}
HALVES = {
    "left": "in the left half",
    "right": "in the right half",
    "top": "in the upper half",
    "bottom": "in the lower half",
}
HALF_WORDS = {
    "left": ("in the left half", "in the left-hand half", "on the left half"),
    "right": ("in the right half", "in the right-hand half", "on the right half"),
    "top": ("in the upper half", "in the top half", "on the upper half"),
    "bottom": ("in the lower half", "in the bottom half", "on the lower half"),
}
BOTH_HALVES = {
    "across": (
        *("on the left or on the right", "on the left or the right", "on the right or on the left"),
        *("in the left or the right half", "left or right", "on the left side or on the right side"),
    ),
    "down": (
        *("at the top or at the bottom", "at the top or the bottom", "at the bottom or at the top"),
        *("in the upper or the lower half", "in the top or the bottom half", "up or down"),
    ),
}
SIZE_WORDS = {"bigger": ("bigger", "larger", "greater"), "smaller": ("smaller", "tinier", "littler")}
MOST_WORDS = {"biggest": ("biggest", "largest", "greatest"), "smallest": ("smallest", "tiniest", "littlest")}
STYLE_WORDS = {
    "filled": ("filled", "filled in", "solid", "coloured in", "filled with colour", "colored in"),
    "hollow": (
        *("hollow", "empty", "not filled", "just an outline", "only an outline", "empty inside", "hollow inside"),
        *("not filled in", "only a line"),
    ),
}
STYLES_WORDS = (
    *("filled or hollow", "hollow or filled", "filled or empty", "solid or hollow", "filled in or just an outline"),
    *("filled or only an outline", "solid or empty"),
)
