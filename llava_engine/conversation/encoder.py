"""A conversation -> what a model reads of it: the one bundle of tokenizer, template and pictures' costs for everybody.

Chat, training and evaluation hold a `PromptEncoder` instead of its parts, so they can not put them together
differently. Knows no torch and no files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from llava_engine.conversation.conversation import Conversation
from llava_engine.conversation.spans import spans
from llava_engine.conversation.templates import Template
from llava_engine.conversation.tokenizer import Prompt, Tokenizer, assemble


@dataclass(frozen=True)
class PromptEncoder:
    """Writes conversations as one model reads them.

    Attributes:
        tokenizer: the model's.
        template: how it wants a conversation written.
        system: the system text of conversations that state none; None for the template's own.
        image_token_id: the placeholder that fills a picture's slot; negative where no token has that id.
        tokens_of: what a picture costs in tokens, by its (height, width) in pixels.
    """

    tokenizer: Tokenizer
    template: Template
    system: str | None
    image_token_id: int
    tokens_of: Callable[[tuple[int, int]], int]

    def encode(self, conversation: Conversation, begun: str = "") -> Prompt:
        """Ids, slots of pictures, what is learned, and the text: of all turns, and open where the user spoke last.

        Args:
            conversation: user and assistant in turn.
            begun: how the open answer begins, to be gone on with.

        Raises:
            ConversationError: the template can not write this conversation.
        """
        if conversation.system is None and self.system is not None:
            conversation = replace(conversation, system=self.system)
        sizes = [(picture.size[1], picture.size[0]) for picture in conversation.pictures]
        lengths = [self.tokens_of(size) for size in sizes]
        parts = spans(conversation, self.template, begun=begun)
        return assemble(parts, self.tokenizer, lengths, self.image_token_id)
