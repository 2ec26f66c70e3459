"""The sentences that answer, whatever the question was. Each says one thing about a scene, and says it one way."""

from __future__ import annotations

from training.embedded.picture_world.phrases import NUMBERS, Named, Text, counted, grouped, joined, sentence
from training.embedded.picture_world.places import nearest, region
from training.embedded.picture_world.question_templates import REGIONS, SAID_SIDE
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, Item, Scene


def there_is(named: Named, members: tuple[int, ...]) -> Text:
    """ "there is a red circle", "there are two red circles", "there is no red circle"."""
    verb = "are" if len(members) > 1 else "is"
    return [(f"there {verb} ", None), *counted(named, members)]


def description(scene: Scene) -> Text:
    """All there is, grouped and sorted: "There are two red circles and a blue star."."""
    groups = grouped(scene, range(len(scene.items)))
    verb = "are" if len(groups[0][1]) > 1 else "is"
    return sentence([(f"there {verb} ", None), *joined([counted(*group) for group in groups])])


def absence(named: Named) -> Text:
    """What to say when asked about something that is not there."""
    return sentence([("there is no ", None), (named.noun(), ()), (" in the picture", None)])


def colour_answer(scene: Scene, named: Named) -> Text:
    """ "The circle is red.", "The circles are red and blue."."""
    members = named.members(scene)
    held = sorted({scene.items[index].colour for index in members}, key=COLOUR_NAMES.index)
    listed: Text = joined([[(name, None)] for name in held])
    verb = " are " if len(members) > 1 else " is "
    return sentence([("the ", None), (named.noun(len(members) > 1), members), (verb, None), *listed])


def count_answer(scene: Scene, named: Named) -> Text:
    """ "There is one red circle.", "There are no red circles."."""
    members = named.members(scene)
    verb = "is" if len(members) == 1 else "are"
    noun = named.noun(plural=len(members) != 1)
    return sentence([(f"there {verb} {NUMBERS[len(members)]} ", None), (noun, members)])


def kind_answer(scene: Scene, named: Named) -> Text:
    """ "The red thing is a circle.", "The red things are two circles and a star."."""
    members = named.members(scene)
    held = sorted({scene.items[index].kind for index in members}, key=KINDS.index)
    groups = [counted(Named(name), tuple(i for i in members if scene.items[i].kind == name)) for name in held]
    verb = " are " if len(members) > 1 else " is "
    return sentence([("the ", None), (named.noun(len(members) > 1), members), (verb, None), *joined(groups)])


def beside_answer(scene: Scene, index: int, named: Named, side: str) -> Text | None:
    """ "To the left of the circle there is a red star."; None at a near tie."""
    other = nearest(scene, scene.items[index], side)
    if other is False:
        return None
    lead: Text = [(f"{SAID_SIDE[side]} the ", None), (named.noun(), (index,)), (" there is ", None)]
    if not isinstance(other, Item):
        return sentence([*lead, ("nothing", None)])
    place = next(at for at, item in enumerate(scene.items) if item is other)
    return sentence([*lead, *counted(Named(*other.pair), (place,))])


def where_answer(scene: Scene, index: int, named: Named) -> Text | None:
    """ "The circle is at the top left."; None near a border of regions."""
    place = region(scene, scene.items[index])
    if place is None:
        return None
    return sentence([("the ", None), (named.noun(), (index,)), (f" is {REGIONS[place]}", None)])
