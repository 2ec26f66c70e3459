"""Words for what the model never learnt: nouns that it can not see, and names and numbers to ask about."""

from __future__ import annotations

_NOUNS = """
dog person man woman child bird flower sun apple banana train plane table chair book horse cow face clock cup bottle
hat shoe phone computer bus bike mountain river cloud door window lamp robot rabbit elephant cake pizza letter word
number sign road bridge rocket snowman guitar key umbrella butterfly human girl boy baby animal plant truck spider
snake dragon monster sheep pig rectangle oval pentagon hexagon arrow line spiral octagon cube pyramid sphere cone
cylinder ellipse parallelogram trapezoid smiley lion tiger bear wolf fox deer goat duck chicken owl eagle penguin
whale shark dolphin frog turtle bee ant snail crab zebra giraffe monkey camel kangaroo squirrel hedgehog parrot swan
rose tulip grass leaf bush forest mushroom cactus carrot tomato potato lemon cherry grape melon pear peach bread
cheese egg hamburger sandwich cookie sausage glass plate fork knife spoon pot pan oven fridge sofa bed shelf desk
carpet mirror candle pillow blanket towel brush comb bag suitcase basket bucket hammer saw nail screw ladder rope
wheel engine tractor van lorry taxi ambulance motorbike scooter helicopter balloon airport station church castle tower
school hospital shop farm garden park beach island lake sea waterfall desert volcano cave rainbow snowflake planet
comet flag ribbon crown ring necklace watch scarf glove jacket shirt dress skirt sock boot helmet mask ghost witch
king queen princess knight pirate clown angel doctor teacher nurse policeman soldier eye nose mouth ear hand foot arm
leg finger head hair beard television radio camera laptop keyboard pencil pen ruler newspaper map envelope stamp coin
wallet drum piano violin trumpet bell kite doll teddy puzzle dice card racket goal trophy medal
"""
_NAMES = {
    "city": "Paris, London, Berlin, Rome, New York, Tokyo, Vienna, Moscow, Delhi, Madrid, Sydney, Oslo",
    "country": "France, Germany, Italy, Spain, China, India, Brazil, Japan, Canada, Poland, Egypt, Peru",
    "month": "summer, winter, June, May, July, spring, autumn, August, March, December",
    "person": "Einstein, Napoleon, Mozart, Anna, Picasso, Elvis, Obama, Newton, my brother, Taylor, Tom, Goethe",
    "number": "2, 3, two, five, 12, seven, four, 100, 17, nine, 8, ten",
}
_SEVERAL = """
person people man men woman women child children policeman policemen snowman snowmen sheep sheep deer deer foot feet
wolf wolves knife knives leaf leaves shelf shelves scarf scarves dice dice mouse mice
"""

UNKNOWN_THINGS = tuple(_NOUNS.split())
HELD_OUT_THINGS = UNKNOWN_THINGS[5::9]  # asked about in evaluation only
LEARNED_THINGS = tuple(noun for noun in UNKNOWN_THINGS if noun not in HELD_OUT_THINGS)
NAMES = {slot: tuple(names.split(", ")) for slot, names in _NAMES.items()}
_IRREGULAR = dict(zip(_SEVERAL.split()[::2], _SEVERAL.split()[1::2], strict=True))


def several(noun: str) -> str:
    """The plural of such a noun."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("ch", "sh", "s", "x", "tomato", "potato", "volcano")) else "s")
