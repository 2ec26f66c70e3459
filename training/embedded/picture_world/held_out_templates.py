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
    "exist": (
        "quick check: {a}@", "I am looking for {a}, did you spot one", "does your eye catch {a}@", "{a}? yes or no",
        "is {a} one of the {things}@", "did whoever drew this include {a}",
    ),
    "exist_colour": (
        "does {red} get used at all@", "is there so much as one {red} {thing}@", "quick check: something {red}@",
        "did whoever drew this use {red}", "{red}? yes or no",
    ),
    "colour": (
        "I can not tell the {colour} of the {x}, can you",
        "if you had to name the {x}'s {colour}, what would it be", "what shade was picked for the {x}",
        "the {x}, {colour}-wise, is what",
    ),
    "colours": (
        "I can not tell the {colour}s of the {xs}, can you", "what shades were picked for the {xs}",
        "go through the {xs} and give me each {colour}.",
    ),
    "count": (
        "counting the {xs}, where do you end up@", "would you mind counting {xs} for me",
        "my guess is a few {xs}, how many really", "do a count of all the {xs}.", "what number of {xs} has it got",
    ),
    "count_all": (
        "counting everything, where do you end up@", "would you mind counting the lot for me",
        "do a full count of the {things}.", "what number of {things} has it got",
    ),
    "describe": (
        "I can not see it, so put it into words for me.", "imagine I am on the phone: what am I missing",
        "run me through it.", "break it down for me.", "what would you tell a friend about this {picture}",
    ),
    "kind": (
        "the {x}, what exactly is that", "I am not sure what the {x} is meant to be", "how would you label the {x}",
        "help me out: what sort of {thing} is {red} here",
    ),
    "kinds": (
        "the {xs}, what exactly are those", "I am not sure what the {xs} are meant to be",
        "how would you label the {xs}",
    ),
    "verify": (
        "someone told me the {x} is {red}, were they right", "I say the {x} is {red}, agreed",
        "can you confirm a {red} {colour} for the {x}",
    ),
    "verify_kind": (
        "someone told me the {x} is {a}, were they right", "I say the {x} is {a}, agreed",
        "would it be fair to call the {x} {a}",
    ),
    "verify_many": (
        "someone told me the {xs} are {red}, were they right", "I say the {xs} are {red}, agreed",
        "can you confirm that those {xs} are {red}",
    ),
    "verify_two": (
        "someone told me the {x} and the {y} are both {red}, were they right",
        "I say the {x} and the {y} are {red}, agreed",
    ),
    "relation": (
        "someone told me the {x} is {side} the {y}, were they right", "starting at the {y}, is the {x} {side} it",
        "I say the {x} sits {side} the {y}, agreed", "would I find the {x} by looking {side} the {y}",
    ),
    "side": (
        "I mix them up: is the {x} {sides} the {y}", "the {x}, would that be {sides} the {y}",
        "from the {y}, is the {x} {sides} it",
    ),
    "beside": ("something is {side} the {y}, what", "starting at the {y} and going {side} it, what do I hit"),
    "where": (
        "point me to the {x}.", "whereabouts did the {x} end up", "I can not find the {x}, help",
        "what corner or side has the {x}", "in what part would I look for the {x}",
    ),
    "at": ("something is {place}, what", "I am pointing at what is {place}, what is that"),
    "half": (
        "someone told me the {x} is {place}, were they right", "I say the {x} is {place}, agreed",
        "would I find the {x} {place}", "did the {x} end up {place}",
    ),
    "half_which": (
        "I mix them up: is the {x} {places}", "did the {x} end up {places}", "should I look for the {x} {places}",
    ),
    "half_many": (
        "someone told me the {xs} are {place}, were they right", "I say the {xs} are {place}, agreed",
        "did the {xs} end up {place}",
    ),
    "bigger": (
        "someone told me the {x} is {size} than the {y}, were they right",
        "I say the {x} is {size} than the {y}, agreed", "would you put the {x} down as {size} than the {y}",
    ),
    "which": (
        "between the {x} and the {y}, who is {size}", "if I compare the {x} with the {y}, which comes out {size}",
        "{x} against {y}: which one is {size}",
    ),
    "bigger_two": ("if I compare the two, which comes out {size}", "one against the other: which is {size}"),
    "most": (
        "sort them by size: which is {most}", "if I go by size, what is the {most} {thing} here",
        "what comes out as the {most} of all",
    ),
    "most_is": (
        "someone told me the {x} is the {most}, were they right", "I say the {x} is the {most}, agreed",
        "sorted by size, does the {x} come out {most}",
    ),
    "same_size": (
        "someone told me the {x} and the {y} are equally big, were they right",
        "are the {x} and the {y} a match in size", "if I measured the {x} and the {y}, would they come out alike",
    ),
    "style": (
        "someone told me the {x} is {style}, were they right", "I say the {x} is {style}, agreed",
        "did they draw the {x} {style}",
    ),
    "style_which": ("I mix them up: is the {x} {styles}", "how was the {x} drawn, {styles}"),
    "style_list": (
        "give me everything that they drew {style}.", "which ones did they draw {style}", "what here comes {style}",
    ),
    "same_colour": ("were the {x} and the {y} painted alike", "{colour}-wise, are the {x} and the {y} twins"),
    "same_kind": (
        "does the {x} match the {y} in shape", "shape-wise, are the {x} and the {y} twins",
        "are the {x} and the {y} one sort of {thing}",
    ),
    "all_same_colour": (
        "does every {thing} match in {colour}", "{colour}-wise, is it all one",
        "did they stick to a single {colour}",
    ),
    "all_same_kind": (
        "does every {thing} match in shape", "shape-wise, is it all one", "did they stick to a single shape",
    ),
    "everything": (
        "someone told me it is all {red}, were they right", "did they stick to {red}",
        "does every {thing} come in {red}",
    ),
    "only_kind": (
        "did they draw just {xs}", "apart from {xs}, is it empty",
        "someone told me it is all {xs}, were they right",
    ),
    "only_one": (
        "is the {x} alone of its kind@", "did they draw just a single {x}",
        "someone told me there is a single {x}, were they right",
    ),
    "all_colour": (
        "does every last one of the {xs} come in {red}", "someone told me every {x} is {red}, were they right",
        "did they stick to {red} for the {xs}",
    ),
    "any_colour": (
        "does even one of the {xs} come in {red}", "someone told me one of the {xs} is {red}, were they right",
        "did they use {red} for any of the {xs}",
    ),
    "count_check": (
        "someone told me there are {n} {xs}, were they right", "I counted {n} {xs}, agreed",
        "my count of {xs} is {n}, does that check out",
    ),
    "more": (
        "someone told me {xs} outnumber {ys}, were they right", "counting both, do {xs} come out ahead of {ys}",
        "I say there are more {xs} than {ys}, agreed",
    ),
    "more_which": ("counting both, what comes out ahead, {xs} or {ys}", "{xs} against {ys}: which are more"),
    "count_not": (
        "if I take away what is {red}, how many {things} stay", "skip the {red} ones: how many then",
        "do a count of all that is any {colour} but {red}.",
    ),
    "count_style": (
        "do a count of all that is {style}.", "how many did they draw {style}",
        "what number of {things} comes {style}",
    ),
    "count_half": (
        "look {place}: how many {xs} are there", "do a count of the {xs} {place}.",
        "what number of {xs} ended up {place}",
    ),
    "count_colours": (
        "what number of {colour}s has it got", "do a count of the {colour}s.",
        "how many paints did they need for the {things}",
    ),
    "count_kinds": ("what number of different shapes has it got", "do a count of the different sorts of {things}."),
    "palette": ("what paints did they need for the {things}", "go through the {colour}s for me."),
    "ground": (
        "what {colour} is the paper", "and the bit behind the {things}, what {colour} is that",
        "on what {colour} was it all drawn",
    ),
    "ground_is": (
        "is the paper {red}", "someone told me the background is {red}, were they right",
        "was it all drawn on {red}",
    ),
    "follow_colour": ("and {colour}-wise", "I can not tell its {colour}, can you", "which shade was picked for it"),
    "follow_where": ("point me to it.", "whereabouts did it end up", "I can not find it, help"),
    "follow_count": ("do a count.", "counting them, where do you end up"),
    "follow_kind": ("and what exactly is that", "how would you label it", "shape-wise, what is it"),
    "follow_verify": ("I say {red}, agreed", "someone told me it is {red}, were they right"),
    "follow_beside": ("look {side} it, what is there", "something is {side} it, what"),
    "follow_half": ("I say it is {place}, agreed", "did it end up {place}", "should I look {place} for it"),
    "follow_style": ("I say it is {style}, agreed", "did they draw it {style}"),
    "follow_size": ("I say it is {size} than the {y}, agreed", "compare it with the {y}: is it {size}"),
    "follow_most": ("I say it is the {most}, agreed", "sorted by size, does it come out {most}"),
    "follow_other": ("now the same for the {x}.", "right, and for the {x}"),
    "follow_others": ("now the same for {xs}.", "right, and for {xs}"),
    "follow_other_one": ("now the same for the other one.", "right, and the remaining one"),
    "follow_other_colour": (
        "which shade was picked for the other one", "I can not tell the other one's {colour}, can you",
    ),
    "follow_other_where": ("whereabouts did the other one end up", "point me to the other one."),
    "follow_other_kind": ("how would you label the other one", "the other one, what exactly is that"),
    "follow_they_colour": ("which shades were picked for them", "I can not tell their {colour}s, can you"),
    "follow_they_verify": ("I say they are {red}, agreed", "someone told me they are {red}, were they right"),
    "follow_they_same": ("do they match in {colour}", "{colour}-wise, are they twins"),
    "follow_the_one": ("point me to the {red} one.", "whereabouts did the {red} one end up"),
    "follow_nth": ("point me to the {nth} one.", "whereabouts did the {nth} one end up"),
    "follow_sure": ("you would not be guessing, would you", "hm, look again."),
    "compare_more": ("counting the {xs}, which {picture} comes out ahead", "where did they draw more {xs}"),
    "compare_which_has": ("in which {picture} would I find {a}", "I am looking for {a}: which {picture}"),
    "compare_common": ("name whatever both {picture}s contain.", "what turns up in both {picture}s"),
    "compare_both": ("tell me how the {picture}s differ.", "set the two {picture}s against each other."),
    "compare_all": ("counting everything, which {picture} comes out ahead", "where did they draw more {things}"),
    "one_describe": (
        "run me through {which}.", "just {which}, put into words, please", "I can not see {which}, what is it like",
    ),
    "one_count": ("do a count of the {xs} for {which}.", "for {which}, what number of {xs} has it got"),
    "one_exist": ("would I find {a} by looking at {which}", "quick check of {which}: {a}"),
    "one_colour": (
        "for {which}, I can not tell the {x}'s {colour}, can you", "in {which}, what shade was picked for the {x}",
    ),
    "talk_hello": ("hiya, anybody home", "a lovely day to you."),
    "talk_who": ("so who is this I am typing to", "introduce yourself, please."),
    "talk_can": ("what is the point of you", "give me an idea of what to ask.", "how do I use this thing"),
    "talk_thanks": ("much obliged.", "that is a big help.", "spot on, well done."),
    "talk_bye": ("I have to run now, ciao.", "time for bed, night night."),
    "talk_how": ("how has your day been", "feeling alright today"),
    "talk_made": ("which lab brought you up", "which company is behind you"),
    "talk_alive": ("is somebody typing this by hand", "am I talking to a human being"),
    "unknown": (
        "do I need an umbrella tomorrow", "how tall is mount everest", "write me a poem about my cat.",
        "what does bread cost these days", "could you book a table for two", "who won the match last night",
        "what year are we in", "fix this python error for me.",
    ),
    "unknown_thing": ("quick check: {a}@", "I am looking for {a}, did you spot one", "is {a} one of the {things}@"),
}  # fmt: skip
