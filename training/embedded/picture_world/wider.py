"""Families beyond the core: what is at a place, the colours there are, which is bigger, the biggest, the background."""

from __future__ import annotations

from training.embedded.picture_world.exchanges import Exchange, Occasion, so
from training.embedded.picture_world.phrases import Named, Text, counted, joined, sentence
from training.embedded.picture_world.places import region
from training.embedded.picture_world.question_templates import REGION_WORDS, REGIONS
from training.embedded.picture_world.scenes import COLOUR_NAMES

SIZE_RATIO = 1.35  # of radii: less apart, neither is the bigger


def at(o: Occasion) -> Exchange | None:
    """What is at the top left?"""
    regions = [region(o.scene, item) for item in o.scene.items]
    place = o.rng.choice(regions) if o.rng.random() < 0.75 else o.rng.choice(list(REGIONS))
    if None in regions or place is None or regions.count(place) > 1:
        return None
    said = REGIONS[place]
    answer: Text = [(f"{said} there is ", None)]
    named = None
    if place in regions:
        index = regions.index(place)
        named = Named(*o.scene.items[index].pair)
        answer += counted(named, (index,))
        named = named if len(named.members(o.scene)) == 1 else None
    else:
        answer.append(("nothing", None))
    return o.exchange("at", "at", {"place": o.pick(REGION_WORDS[said])}, sentence(answer), named)


def palette(o: Occasion) -> Exchange | None:
    """What colours are there?"""
    held = sorted({item.colour for item in o.scene.items}, key=COLOUR_NAMES.index)
    lead = "the colours are " if len(held) > 1 else "the only colour is "
    return o.exchange("palette", "palette", {}, sentence([(lead, None), *joined([[(name, None)] for name in held])]))


def bigger(o: Occasion) -> Exchange | None:
    """Which is bigger, the star or the circle? Is the star bigger than the circle?"""
    two = o.two()
    if two is None:
        return None
    one, other, x, y = two
    ratio = o.scene.items[one].radius / o.scene.items[other].radius
    if 1 / SIZE_RATIO < ratio < SIZE_RATIO:
        return None
    said = "bigger" if ratio > 1 else "smaller"
    fact = sentence([("the ", None), (x.noun(), (one,)), (f" is {said} than the ", None), (y.noun(), (other,))])
    true = o.rng.random() < 0.5
    words = ("bigger", "larger") if (said == "bigger") == true else ("smaller",)
    if o.rng.random() < 0.5:
        slots: dict[str, Text | str] = {"x": o.call(x), "y": o.call(y), "size": o.pick(words)}
        return o.exchange("bigger", "bigger", slots, so(fact, true), x)
    if o.rng.random() < 0.5:  # name them in either order
        x, y = y, x
    words = ("bigger", "larger") if said == "bigger" else ("smaller",)
    return o.exchange("bigger", "which", {"x": o.call(x), "y": o.call(y), "size": o.pick(words)}, fact)


def most(o: Occasion) -> Exchange | None:
    """What is the biggest thing?"""
    ordered = sorted(range(len(o.scene.items)), key=lambda index: o.scene.items[index].radius)
    if len(ordered) < 2:
        return None
    biggest = o.rng.random() < 0.6
    if biggest:
        ordered.reverse()
    first, second = (o.scene.items[index].radius for index in ordered[:2])
    if max(first, second) / min(first, second) < SIZE_RATIO:
        return None
    said = "biggest" if biggest else "smallest"
    named = Named(*o.scene.items[ordered[0]].pair)
    answer = sentence([(f"the {said} thing is ", None), *counted(named, (ordered[0],))])
    words = ("biggest", "largest") if biggest else ("smallest", "tiniest")
    about = named if len(named.members(o.scene)) == 1 else None
    return o.exchange("most", "most", {"most": o.pick(words)}, answer, about)


def ground(o: Occasion) -> Exchange | None:
    low, high = min(o.scene.ground), max(o.scene.ground)
    if low >= 245:
        said = "white"
    elif high <= 20:
        said = "black"
    else:
        return None
    return o.exchange("ground", "ground", {}, sentence([(f"the background is {said}", None)]))
