"""How people go on: "and what colour is it?", "the other one?", "are both red?"; and how they ask about two pictures.

Slots and patterns are explained in held_out_templates.py.
"""

from __future__ import annotations

from training.embedded.picture_world.ways import Ways

_AND = "(and |ok, |ok and |then |so |)"
_IT = "(it|that|that one|this one|the thing)"

TURN_WAYS: dict[str, Ways] = {
    "follow_colour": Ways(
        ("what {colour} is it", "and what {colour} is it"),
        (
            _AND + "(what|which|wat) {colour} (is|has|would you say is) " + _IT,
            _AND + "(what|which) {colour}( then| please|)",
            _AND + "(what|which) {colour} does " + _IT + " have",
            _AND + "(what is |what's |tell me |say |)(its|the|it's) {colour}",
            _AND + "(in |of |)(what|which) {colour} is it( drawn| painted| shown| exactly|)",
            _AND + "{colour}",
            "how is it {colour}ed",
            _AND + "(what|which) {colour} (did they use|was used) for it",
            _AND + "(do you know|can you tell|can you see|could you say) its {colour}",
            "it is (what|which) {colour}",
        ),
        ("(what|which) {colour} (it|that|that one) is", "what its {colour} is"),
        ("its {colour}", "the {colour} of (it|that|that one)"),
    ),
    "follow_where": Ways(
        ("where is it", "and where is it"),
        (
            _AND + "(where is|where's|wheres|whereabouts is) " + _IT + "(@| exactly| located| now|)",
            _AND + "where( exactly| is that| about|)",
            _AND + "where (do|can) (you|I|we) (see|find|spot) " + _IT,
            _AND + "(in|at) (what|which) (part|area|place) of the {picture}( is it|)",
            _AND + "(tell me |say |)(its|the) (position|place|location)",
            _AND + "what('s| is) its (position|place|location)",
            _AND + "(find|locate|point to|show me) it.",
            _AND + "where (did they draw|would I look for|should I look for) it",
            "it is where",
        ),
        ("where (it|that|that one) is(@|)", "in (what|which) part of the {picture} it is"),
        ("its (position|place|location)",),
    ),
    "follow_count": Ways(
        ("how many of them are there", "how many of them"),
        (
            _AND + "how many( of them| of those| of these|)( are there| do you see| can you see|)(@|)",
            _AND + "(count|please count|can you count|could you count) (them|those|these|all of them).",
            _AND + "(what is |what's |tell me |)(their|the) number",
            _AND + "how many in (all|total)",
            _AND + "how many (are there|do you count|can you find)",
            _AND + "how many such {things}",
        ),
        ("how many( of them| of those|) (there are|you see|are there)",),
    ),
    "follow_kind": Ways(
        ("what is it", "and what is it"),
        (
            _AND + "(what is|what's|whats) " + _IT + "( then| exactly|)",
            _AND + "(what|which) shape (is|has) " + _IT,
            _AND + "(what|which) (kind|sort|type) of {thing} is " + _IT,
            _AND + "(name|identify|recognise) it.",
            _AND + "(which|what) (shape|{thing})",
            _AND + "(what does it|what do you think it) (look like|show|is)",
            _AND + "what (could|might|would) it be",
            "it is (what|a what)",
        ),
        ("what (it|that|that one) is", "what (kind|sort) of {thing} it is"),
        ("its shape",),
    ),
    "follow_verify": Ways(
        ("is it {red}", "and is it {red}"),
        (
            _AND + "(is|isn't) " + _IT + " {red}( or not| in colour|, then|, yes or no|)",
            _AND + "(does it look|would you call it|would you say it is|do you think it is|is it really) {red}",
            "(so |and |)it is {red}(, right|, isn't it|, correct|, is it|)",
            _AND + "is its {colour} {red}",
            "(I think|I say|I guess) it is {red}(, right|, am I right|)",
            "is it (true|right) that it is {red}",
            "{red}",
        ),
        ("(if|whether) (it|that one|that) is {red}",),
    ),
    "follow_beside": Ways(
        ("what is {side} it", "and what is {side} it"),
        (
            _AND + "(what is|what's|whats|what is there|which {thing} is|what {thing} is) {side} it",
            _AND + "(is there|do you see|can you see) (anything|something) {side} it",
            _AND + "what (do you|can you|can I) (see|find) {side} it",
            _AND + "(anything|something|what) {side} it",
            _AND + "(name|describe|tell me) (what is|the {thing}) {side} it.",
            _AND + "what (lies|sits|stands|comes) {side} it",
            _AND + "{side} it",
        ),
        ("what (is|you see|there is) {side} it",),
        ("the {thing} {side} it",),
    ),
    "follow_half": Ways(
        ("is it {place}", "and is it {place}"),
        (
            _AND + "(is|isn't) " + _IT + " {place}(| of the {picture})",
            _AND + "(would you say it is|do you think it is|is it drawn|does it lie|is it somewhere) {place}",
            "(so |and |)it is {place}(, right|, isn't it|, correct|)",
            _AND + "do you see it {place}",
            "{place}",
        ),
        ("(if|whether) (it|that one) is {place}",),
    ),
    "follow_style": Ways(
        ("is it {style}", "and is it {style}"),
        (
            _AND + "(is|isn't) " + _IT + " {style}",
            _AND + "(would you say it is|do you think it is|does it look|is it drawn) {style}",
            "(so |and |)it is {style}(, right|, isn't it|, correct|)",
        ),
        ("(if|whether) (it|that one) is {style}",),
    ),
    "follow_size": Ways(
        ("is it {size} than the {y}", "and is it {size} than the {y}"),
        (
            _AND + "(is|isn't) " + _IT + " {size} (than|then) the {y}",
            _AND + "(would you say it is|do you think it is|does it look) {size} than the {y}",
            "(so |and |)it is {size} than the {y}(, right|, isn't it|)",
            "{size} than the {y}",
        ),
        ("(if|whether) it is {size} than the {y}",),
    ),
    "follow_most": Ways(
        ("is it the {most}", "and is it the {most} {thing}"),
        (
            _AND + "(is|isn't) " + _IT + " the {most}( {thing}| one| of all|)(@|)",
            _AND + "(would you say it is|do you think it is) the {most}( one| {thing}|)",
            "(so |and |)it is the {most}( one| {thing}|)(, right|, isn't it|)",
        ),
        ("(if|whether) it is the {most}( one| {thing}|)",),
    ),
    "follow_other": Ways(
        ("and the {x}", "what about the {x}"),
        (
            "(and |ok, |ok and |so |now |then |)(what|how) about (the|that|this) {x}",
            "(and |ok, |ok and |now |then |and now |and for |and what of |same for |and also )(the|that) {x}",
            "the {x}( then| too| as well|)",
            "(the same|same question|same thing) (for|about|with) the {x}(, please|)",
        ),
    ),
    "follow_others": Ways(
        ("and {xs}", "what about {xs}"),
        (
            "(and |ok, |ok and |so |now |then |)(what|how) about (the |those |any |){xs}",
            "(and |ok, |ok and |now |then |and now |and for |and also |same for )(the |any |){xs}",
            "{xs}( then| too|)",
            "(the same|same question|same thing) (for|about|with) (the |){xs}",
        ),
    ),
    "follow_other_one": Ways(
        ("and the other one", "what about the other one"),
        (
            "(and |ok, |so |now |then |)(what|how) about the other( one| {thing}|)",
            "(and |ok, |now |then |and now |and for |same for |)the other( one| {thing}|)",
            "the other (one|{thing})( then| too| as well|)",
            "(the same|same question) (for|about|with) the other( one|)",
        ),
    ),
    "follow_other_colour": Ways(
        ("what {colour} is the other one", "and what {colour} is the other one"),
        (
            _AND + "(what|which|wat) {colour} (is|has) the other( one| {thing}|)",
            _AND + "(what is |what's |tell me |)the {colour} of the other( one| {thing}|)",
            _AND + "(what|which) {colour} does the other( one| {thing}|) have",
            _AND + "the {colour} of the other( one|)",
        ),
        ("(what|which) {colour} the other( one| {thing}|) is",),
        ("the {colour} of the other( one|)",),
    ),
    "follow_other_where": Ways(
        ("where is the other one", "and where is the other one"),
        (
            _AND + "(where is|where's|wheres) the other( one| {thing}|)(@|)",
            _AND + "where (do|can) (you|I) (see|find) the other( one| {thing}|)",
            _AND + "(find|locate|point to) the other( one| {thing}|).",
            _AND + "in (what|which) part of the {picture} is the other( one|)",
        ),
        ("where the other( one| {thing}|) is",),
        ("the (position|place) of the other( one|)",),
    ),
    "follow_other_kind": Ways(
        ("what is the other one", "and what is the other one"),
        (
            _AND + "(what is|what's|whats) the other( one| {thing}|)( then|)",
            _AND + "(what|which) (shape|{thing}) is the other( one|)",
            _AND + "(name|describe|identify) the other( one| {thing}|).",
            _AND + "what else (is there|do you see|can you see)",
        ),
        ("what the other( one| {thing}|) is",),
    ),
    "follow_they_colour": Ways(
        ("what {colour} are they", "and what {colour} are they"),
        (
            _AND + "(what|which|wat) ({colour}|{colour}s) (are|have) (they|those|these|both|both of them|all of them)",
            _AND + "(what is |what are |tell me |)their ({colour}|{colour}s)",
            _AND + "(what|which) ({colour}|{colour}s)( then|)",
            _AND + "(what|which) ({colour}|{colour}s) do they have",
            "how are they {colour}ed",
        ),
        ("(what|which) ({colour}|{colour}s) they are",),
        ("their ({colour}|{colour}s)",),
    ),
    "follow_they_verify": Ways(
        ("are they {red}", "are they all {red}"),
        (
            _AND + "(are|aren't) (they|those|these|all of them|they all|both|both of them|they both) {red}",
            _AND + "(do they look|would you say they are|do you think they are) (all |){red}",
            "(so |and |)they are (all |){red}(, right|, aren't they|, correct|)",
            "(all|both) {red}",
        ),
        ("(if|whether) they are (all |){red}",),
    ),
    "follow_they_same": Ways(
        ("are they the same {colour}", "do they have the same {colour}"),
        (
            _AND + "(are|aren't) (they|both|all of them|those|these) (all |)(the same|of the same|of one|in one|same) {colour}",
            _AND + "(do|don't) (they|both|all of them) (have|share) (the same|one) {colour}",
            "(so |and |)they (are|have) the same {colour}(, right|, correct|)",
            "same {colour}",
        ),
        ("(if|whether) they (are|have) the same {colour}",),
    ),
    "follow_the_one": Ways(
        ("where is the {red} one", "and where is the {red} one"),
        (
            _AND + "(where is|where's|wheres) the {red} (one|{thing})(@|)",
            _AND + "where (do|can) (you|I) (see|find) the {red} one",
            _AND + "(find|locate|point to) the {red} one.",
            _AND + "in (what|which) part of the {picture} is the {red} one",
        ),
        ("where the {red} one is(@|)",),
        ("the (position|place) of the {red} one",),
    ),
    "follow_nth": Ways(
        ("where is the {nth} one", "and where is the {nth} one"),
        (
            _AND + "(where is|where's|wheres) the {nth}( one| {thing}| of them|)(@|)",
            _AND + "where (do|can) (you|I) (see|find) the {nth}( one|)",
            _AND + "in (what|which) part of the {picture} is the {nth} one",
        ),
        ("where the {nth}( one| of them|) is",),
    ),
    "follow_sure": Ways(
        ("are you sure", "really"),
        (
            "(and |)(are|r) (you|u) (really |quite |very |absolutely |)(sure|certain|confident)( about that| of that| about it|)",
            "(really|for real|seriously|truly|honestly|sure|certain|is it|no way|oh really)( now|)",
            "is (that|this|it) (right|true|correct|so|really so|really true|what you see)",
            "(do|did) you (really |)(think|see|believe) (so|that)",
            "(can|could|would) you (please |)(check|look|verify|count)( that| it|) (again|once more|twice)",
            "(check|look|verify) (again|once more|that|it|twice).",
            "(I don't|I do not|I can't) (believe|think) (that|it|you|so).",
            "how sure are you",
            "(that|this) (is|seems|sounds|looks) (wrong|odd|strange|not right), (are you sure|no|really)",
            "(you're|you are) (sure|certain)",
            "any doubt( about it|)",
        ),
        ("(if|whether) (you are|you're) sure",),
    ),
}  # fmt: skip
