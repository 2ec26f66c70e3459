"""How a family of questions is asked: whole questions, and pieces that other words can lead in.

Composed, so that whole questions differ and not only their ends: "what colour is the {x}", "do you know " + "what
colour the {x} is", "give me " + "the colour of the {x}", each of the pieces a pattern of many.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.embedded.picture_world.patterns import expand, parsed, ways_in

CLAUSE_LEADS = (
    "(can|could|would|will) you (please |)(tell me|say|tell|let me know|find out|work out|check|see) ",
    "(please |)(tell me|say|let me know|tell us|check|find out|work out) ",
    "do you (know|happen to know|see|remember) ",
    "(I want|I'd like|I would like|I need|we need|we want|I have) to know ",
    "(I wonder|I was wondering|I am wondering|I'm wondering|just wondering) ",
    "(any idea|any clue|do you have any idea|have you any idea|got any idea|can you work out) ",
    "(I am asking|I'm asking|I'm not sure|I can't see|I cannot tell|I forgot|I don't know|not sure|idk) ",
    "(are you able to|can you|could you) (tell me|tell|see|say) ",
    "(would you mind telling me|mind telling me|help me find out|my question is|the question is) ",
)
NOUN_LEADS = (
    "(what is|what's|what would be|and what is|what might be) ",
    "(tell me|give me|say|show me|name|state|find|read off) ",
    "(can|could|would) you (please |)(tell me|give me|say|name|find|state) ",
    "(I want|I need|I'd like|I would like) (to know |)",
    "do you know ",
    "",
)


@dataclass(frozen=True)
class Ways:
    """Patterns (patterns.py) of one family.

    Attributes:
        plain: the two plainest templates.
        direct: whole questions; one that ends in "." is no question.
        clause: what follows "can you tell me".
        noun: what follows "give me".
    """

    plain: tuple[str, str]
    direct: tuple[str, ...]
    clause: tuple[str, ...] = ()
    noun: tuple[str, ...] = ()

    def draw(self, rng: random.Random) -> str:
        """A template."""
        lot = rng.random()
        if lot < 0.12:
            return self.plain[lot < 0.06]
        if lot < 0.32 and self.clause:
            lead, body = rng.choice(CLAUSE_LEADS), rng.choice(self.clause)
        elif lot < 0.45 and self.noun:
            lead, body = rng.choice(NOUN_LEADS), rng.choice(self.noun)
        else:
            return expand(parsed(rng.choice(self.direct)), rng)
        return expand(parsed(lead), rng) + expand(parsed(body), rng)

    def count(self) -> int:
        """How many templates there are."""
        clauses, nouns, direct = (
            sum(ways_in(parsed(pattern)) for pattern in patterns) for patterns in (self.clause, self.noun, self.direct)
        )
        clause_leads, noun_leads = (
            sum(ways_in(parsed(pattern)) for pattern in patterns) for patterns in (CLAUSE_LEADS, NOUN_LEADS)
        )
        return len(self.plain) + direct + clauses * clause_leads + nouns * noun_leads
