"""How people ask about two pictures: which has more, what both show, what differs, and about one of the two.

Slots and patterns are explained in held_out_templates.py.
"""

from __future__ import annotations

from training.embedded.picture_world.ways import Ways

_PICTURES = "({picture}s|{picture}s|two {picture}s|ones)"

PICTURE_WAYS: dict[str, Ways] = {
    "compare_more": Ways(
        ("which picture has more {xs}", "are there more {xs} in the first or the second picture"),
        (
            "(which|what) (one |{picture} |of the two |of the {picture}s |)(has|shows|contains|holds|got) (more|the most) {xs}",
            "(in|on) which (one|{picture}|of the {picture}s) (are|do you see) more {xs}",
            "(where|in which {picture}) (are|do you see|can you find) (more|the most) {xs}(, in the first or in the second|)",
            "(are there|do you see) more {xs} in the first( {picture}|) or (in |)the second( {picture}| one|)",
            "more {xs}: (the first or the second|first or second|which {picture})",
            "(compare|count) the {xs}(| in both| in the {picture}s)(:|,) which (has|{picture} has) more",
        ),
        ("which (one|{picture}|of the {picture}s) (has|shows) more {xs}",),
        ("the {picture} with more {xs}",),
    ),
    "compare_which_has": Ways(
        ("which picture has {a}", "in which picture is there {a}"),
        (
            "(which|what) (one |{picture} |of the two |of the {picture}s |)(has|shows|contains|holds) ({a}|the {x})",
            "(in|on) which (one|{picture}|of the {picture}s) (is there {a}|is the {x}|do you see {a}|are {xs})",
            "(is|was) the {x} in the first or (in |)the second( {picture}| one|)",
            "(do both|does one of the|does any of the|do the|do both of the) {picture}s (have|show|contain) {a}(, and which|)",
            "(is there {a}|do you see {a}) in (both|both {picture}s|the two {picture}s|each of them)",
            "(where|in which {picture}) (is the {x}|do you see {a}|can I find {a})",
            "{a} in both( {picture}s|)",
        ),
        ("(which {picture} has|in which {picture} there is) {a}", "(if|whether) both {picture}s (have|show) {a}"),
    ),
    "compare_common": Ways(
        ("what do both pictures have", "what is in both pictures"),
        (
            "what (is|do you see|can you see|can be found) in both( {picture}s| of them|)",
            "what (do|have) (both|the two|the) {picture}s (have in common|in common|share|both show)",
            "(what is|what's) the same in (both|the two)( {picture}s|)",
            "(what|which) {things} (are|do you see) in both( {picture}s|)",
            "what (do they|do these|do those two) (have in common|share)",
            "(name|list|tell me) what (both {picture}s have|they have in common|is in both).",
            "(anything|something|is anything|is there anything) (in common|the same)( in the {picture}s|)",
        ),
        ("what (both {picture}s have|is in both( {picture}s|)|they have in common|they share)",),
        ("what (both {picture}s have|they have) in common",),
    ),
    "compare_both": Ways(
        ("compare the two pictures.", "what is different in the two pictures"),
        (
            "compare (the|these|both|the two|my two|those) {picture}s(| please| for me).",
            "compare (them|both|this to the first|it with the first|these).",
            "(what is|what's|whats) (different|the difference|not the same)( in| between|) (the two|these|the|both) {picture}s",
            "(what|how) (differs|has changed|changed|is the difference|are the differences)(| between them| between the {picture}s)",
            "how (do|are) (the|these|the two|both) {picture}s (differ|different)",
            "how is (this|the second) {picture} different from the (first|other)( one|)",
            "(describe|tell me about|explain) (both|both {picture}s|the two {picture}s|the {picture}s).",
            "what (is|do you see) in (each|each of them|each {picture}|the two {picture}s|both {picture}s, one by one)",
            "(show|tell|list|name|find|spot) (me |)the (difference|differences).",
        ),
        ("(what is different|what the difference is|how they differ|what differs)(| between the {picture}s)",),
        ("the (difference|differences) between (the|these|the two) {picture}s",),
    ),
    "compare_all": Ways(
        ("which picture has more things", "are there more {things} in the first or the second picture"),
        (
            "(which|what) (one |{picture} |of the two |of the {picture}s |)(has|shows|contains) (more|the most) {things}",
            "(in|on) which (one|{picture}) are (there |)more {things}",
            "(which|what) (one|{picture}) is (fuller|more crowded|busier)",
            "more {things}: (the first or the second|first or second|which {picture})",
            "(are there|do you see) more {things} in the first( {picture}|) or (in |)the second( {picture}| one|)",
        ),
        ("which (one|{picture}|of the {picture}s) (has|shows) more {things}",),
    ),
    "one_describe": Ways(
        ("what is in {which}", "describe {which}."),
        (
            "(what is|what's|whats) (in|on) {which}",
            "(describe|explain|caption|tell me about|list the {things} in) {which}.",
            "what (does|did) {which} (show|have|contain|look like)",
            "what (do|can|did) you see (in|on) {which}",
            "(and |){which}(:|,) what (is in it|is it|do you see|was in it)",
            "(what|which) {things} (are|were) in {which}",
            "what was (in|on) {which}",
        ),
        ("what (is|was|you see|you saw) in {which}", "what {which} (shows|showed)"),
        ("what is in {which}",),
    ),
    "one_count": Ways(
        ("how many {xs} are in {which}", "how many {xs} are there in {which}"),
        (
            "how many {xs} (are|were|are there|do you see|can you see|did you see) (in|on) {which}",
            "how many {xs} (does|did) {which} (have|show|contain)",
            "(count|and count) the {xs} in {which}.",
            "(in|on) {which}(,|) how many {xs} (are there|were there|do you see)",
            "(number|count) of {xs} in {which}",
        ),
        ("how many {xs} (there are|are|were|you see) in {which}",),
        ("the number of {xs} in {which}",),
    ),
    "one_exist": Ways(
        ("is there {a} in {which}", "do you see {a} in {which}"),
        (
            "(is|was|isn't) there {a} (in|on) {which}",
            "(does|did) {which} (have|show|contain) ({a}|any {xs})",
            "(do|can|did) you see ({a}|any {xs}) (in|on) {which}",
            "(are|were) there (any |){xs} (in|on) {which}",
            "(in|on) {which}(,|) (is|was) there {a}",
            "(any {xs}|{a}) in {which}",
        ),
        ("(if|whether) (there is|there was) {a} in {which}", "(if|whether) {which} (has|shows) {a}"),
    ),
    "one_colour": Ways(
        ("what {colour} is the {x} in {which}", "which {colour} is the {x} in {which}"),
        (
            "(what|which) {colour} (is|was) (the|that) {x} (in|on) {which}",
            "(what|which) {colour} (does|did) the {x} in {which} have",
            "(in|on) {which}(,|) (what|which) {colour} (is|was) the {x}",
            "(what is|what's) the {colour} of the {x} in {which}",
            "{colour} of the {x} in {which}",
        ),
        ("(what|which) {colour} the {x} in {which} (is|was|has)",),
        ("the {colour} of the {x} in {which}",),
    ),
}  # fmt: skip
