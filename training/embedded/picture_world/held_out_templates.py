"""Templates that are asked in evaluation only, by another hand than those of training (ways*.py).

A template is what a person writes, in lower case, without its question mark; one that ends in "." is no question. A
test checks that training can not make any of them. Alternatives may be written "(do|can) you see {a}".

What a template may hold, besides words:

  @           where " in the picture", " here" or nothing comes
  {colour}    "colour" or "color"; also {colour}s
  {thing}     "thing", "shape", "object", "item" or "figure"; {things} more of them
  {picture}   "picture", "image", "photo" …; also {picture}s
  {x}         what is asked about, without article: "circle", "red circle", "red thing"; {xs} more of them
  {a}         the same with its article: "a circle"
  {y}, {ys}   a second one
  {red}       a colour by name
  {side}      "to the left of", "above" …;  {sides}  "left or right of", "above or below"
  {place}     "on the left", "in the top half" …; in `at` also "in the top left corner", "in the middle"
  {places}    "on the left or on the right" …
  {size}      "bigger", "smaller" …;  {most}  "biggest", "smallest" …
  {style}     "filled", "hollow", "only an outline" …;  {styles}  "filled or hollow" …
  {n}         "two", "3" …
  {nth}       "first", "second", "last"
  {which}     "the first picture", "the second picture", "the other picture" …
  {city} {country} {month} {person} {number}   in `unknown`

Only the slots that the examples of a family hold are filled there, `@` and the words of the first four lines always.
"""

from __future__ import annotations

HELD_OUT: dict[str, tuple[str, ...]] = {
    # what is there
    "exist": ("would you say there is {a}@", "does {a} appear@", "tell me, {xs} or no {xs}@"),
    "exist_colour": ("would you say anything is {red}@", "does anything {red} appear@"),
    "colour": ("paint me a word: the {x}'s {colour}", "with which {colour} did they fill the {x}"),
    "colours": ("with which {colour}s did they fill the {xs}", "read me the {colour}s of the {xs}."),
    "count": ("how many {xs} could you count@", "give me the count of {xs}@."),
    "count_all": ("how many {things} could you count@", "give me a headcount of the {things}@."),
    "describe": ("what is depicted@", "name everything you can see@."),
    "kind": ("which {thing} did they paint {red}", "put a name to the {x}."),
    "kinds": ("which {things} did they paint {red}", "put names to the {xs}."),
    "verify": ("do I see it right that the {x} is {red}", "is {red} what the {x} is"),
    "verify_kind": ("do I see it right that the {x} is {a}", "is {a} what the {x} is"),
    "verify_many": ("do I see it right that the {xs} are {red}", "is {red} what the {xs} are"),
    "verify_two": ("are they both {red}, the {x} and the {y}", "do the {x} and the {y} both come in {red}"),
    # where it is
    "relation": ("do we find the {x} {side} the {y}", "has the {x} been put {side} the {y}"),
    "side": ("does the {x} stand {sides} the {y}", "tell me which: the {x} {sides} the {y}"),
    "beside": ("what would there be {side} the {y}", "what has been put {side} the {y}"),
    "where": ("where does the {x} stand", "what spot does the {x} have@"),
    "at": ("what has been put {place}", "say what is {place}."),
    "half": ("has the {x} been put {place}", "would one look for the {x} {place}"),
    "half_which": ("has the {x} been put {places}", "where is the {x}: {places}"),
    "half_many": ("have the {xs} been put {place}", "would one look for the {xs} {place}"),
    # sizes and styles
    "bigger": ("am I right that the {x} is {size} than the {y}", "next to the {y}, does the {x} look {size}"),
    "which": ("which would you call {size}, the {x} or the {y}", "the {x} next to the {y}: which is {size}"),
    "bigger_two": ("which would you call {size}", "whose size is {size}"),
    "most": ("what would you call the {most} {thing}", "which {thing} beats all others as the {most}"),
    "most_is": ("does the {x} count as the {most}", "does the {x} win as the {most} {thing}"),
    "same_size": ("is there no difference in size between the {x} and the {y}", "does the {x} match the {y} in size"),
    "style": ("have they left the {x} {style}", "does the {x} come {style}"),
    "style_which": ("have they left the {x} {styles}", "which of the two, {styles}, is the {x}"),
    "style_list": ("which {things} have been left {style}", "point me to whatever is {style}@."),
    # the same, all, any, more, how many by property
    "same_colour": ("is there no difference in {colour} between the {x} and the {y}", "one {colour} for {x} and {y}"),
    "same_kind": ("is there no difference in shape between the {x} and the {y}", "one shape for the {x} and the {y}"),
    "all_same_colour": ("has everything been painted alike@", "one {colour} for all {things}"),
    "all_same_kind": ("has everything been shaped alike@", "one shape for all {things}"),
    "everything": ("has everything been painted {red}@", "is there nothing here that is not {red}"),
    "only_kind": ("is there nothing here but {xs}", "{xs} and nothing else@"),
    "only_one": ("is there no more than one {x}@", "a single {x}, no more@"),
    "all_colour": ("have all the {xs} been painted {red}", "is none of the {xs} in any {colour} but {red}"),
    "any_colour": ("has any of the {xs} been painted {red}", "is one {x} {red} at least"),
    "count_check": ("would you count {n} {xs}@", "do we arrive at {n} {xs}@"),
    "more": ("do we have more {xs} than {ys}@", "do the {xs} beat the {ys} in number"),
    "more_which": ("do we have more {xs} or more {ys}@", "who wins in number, the {xs} or the {ys}"),
    "count_not": ("leaving out {red}, how many {things} remain", "how many {things} have some {colour} but {red}"),
    "count_style": ("how many {things} have been left {style}", "give me a headcount of what is {style}."),
    "count_half": ("how many {xs} have been put {place}", "give me a headcount of the {xs} {place}."),
    "count_colours": ("how many {colour}s went into it", "give me a headcount of the {colour}s."),
    "count_kinds": ("how many kinds of {things} went into it", "give me a headcount of the kinds of {things}."),
    "palette": ("which {colour}s went into it", "read me the {colour}s@."),
    "ground": ("what is the {colour} all around the {things}", "onto what {colour} did they put the {things}"),
    "ground_is": ("is it {red} all around the {things}", "did they leave the background {red}"),
    # going on
    "follow_colour": ("say what {colour} it is.", "with which {colour} did they fill it"),
    "follow_where": ("say where it is.", "what spot does it have@"),
    "follow_count": ("how many of them could you count", "give me a headcount."),
    "follow_kind": ("put a name to it.", "what would one call it"),
    "follow_verify": ("am I right that it is {red}", "do you agree that it is {red}"),
    "follow_beside": ("what would there be {side} it", "what has been put {side} it"),
    "follow_half": ("has it been put {place}", "would one look for it {place}"),
    "follow_style": ("have they left it {style}", "does it come {style}"),
    "follow_size": ("next to the {y}, is it {size}", "does it beat the {y} as the {size} one"),
    "follow_most": ("does it count as the {most}", "does it win as the {most}"),
    "follow_other": ("any word on the {x}", "answer that for the {x}."),
    "follow_others": ("any word on {xs}", "answer that for {xs}."),
    "follow_other_one": ("any word on the other", "answer that for the other one."),
    "follow_other_colour": ("with which {colour} did they fill the other one", "say what {colour} the other is."),
    "follow_other_where": ("what spot does the other one have", "say where the other is."),
    "follow_other_kind": ("put a name to the other one.", "what would one call the other"),
    "follow_they_colour": ("with which {colour}s did they fill them", "say what {colour} they are."),
    "follow_they_verify": ("have they been painted {red}", "do both come in {red}"),
    "follow_they_same": ("is there no difference in their {colour}", "one {colour} for both"),
    "follow_the_one": ("what spot does the {red} one have", "say where the {red} one is."),
    "follow_nth": ("what spot does the {nth} one have", "say where the {nth} is."),
    "follow_sure": ("is there no doubt", "would you swear to it"),
    # two pictures
    "compare_more": ("which {picture} wins by its number of {xs}", "more {xs}, where"),
    "compare_which_has": ("which {picture} did they put {a} into", "does only one {picture} come with {a}"),
    "compare_common": ("what went into both {picture}s", "what is it that the {picture}s agree on"),
    "compare_both": ("put the two {picture}s side by side: what is in each", "what sets the {picture}s apart"),
    "compare_all": ("which {picture} wins by its number of {things}", "which of the {picture}s is less empty"),
    "one_describe": ("what went into {which}", "take {which}: name everything."),
    "one_count": ("what is the tally of {xs} for {which}", "take {which}: the number of {xs}"),
    "one_exist": ("did {a} go into {which}", "take {which}: any {xs}"),
    "one_colour": ("take {which}: the {colour} of the {x}", "with which {colour} did they fill the {x} of {which}"),
    # talk, and what was never learnt
    "talk_hello": ("good to have you here.", "a very good morning."),
    "talk_who": ("with whom do I have the pleasure", "what do you call yourself"),
    "talk_can": ("what would you be useful for", "what do people ask you"),
    "talk_thanks": ("I am grateful.", "that was kind of you."),
    "talk_bye": ("until we meet again.", "I will be off now."),
    "talk_how": ("is all well with you", "how goes it"),
    "talk_made": ("whose work are you", "out of what were you made"),
    "talk_alive": ("is there anybody inside you", "are you flesh and blood"),
    "unknown": ("which horse should I bet on", "will my team win on sunday"),
    "unknown_thing": ("would there be {a}@", "tell me whether the {x} is nice."),
}  # fmt: skip
