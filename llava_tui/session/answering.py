"""Who answers what: the question that waits, the answer that grows, the one before, and how long the branch is.

One answer at a time. What the store raises (StorageError) passes through. Knows nothing of messages that are not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llava_engine.contract import Progress, Reply, Sampling, TokenCount
from llava_tui.history.kept_database import LockedError
from llava_tui.history.store import Store
from llava_tui.session.context_meter import ContextMeter
from llava_tui.session.conversation_of import Conversations
from llava_tui.session.events import AnswerGrew, TurnFinished
from llava_tui.session.growing_answer import GrowingAnswer
from llava_tui.session.model_loader import ModelLoader
from llava_tui.session.model_words import title_of
from llava_tui.session.outbox import Outbox, reason
from llava_tui.session.shown_branch import ShownBranch


class Answering:
    """Answers questions of the shown branch, when the model is there and the answer before has ended.

    Args:
        branch: what is shown.
        model: who answers.
        conversations: what a question is for a model.
        sampling: how answers are drawn.
        clock: seconds, monotonic.

    Attributes:
        question_id: a question of the shown branch that waits; None while none does.
        growing: the answer that is being written, perhaps in a chat that was left; None while none is.
        last: the one before.
        meter: how many tokens the shown branch takes.
    """

    def __init__(
        self,
        store: Store,
        out: Outbox,
        branch: ShownBranch,
        model: ModelLoader,
        conversations: Conversations,
        sampling: Sampling,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._out = out
        self._branch = branch
        self._model = model
        self._conversations = conversations
        self._sampling = sampling
        self._clock = clock
        self.meter = ContextMeter(model.submit, out.later)
        self.question_id: int | None = None
        self.growing: GrowingAnswer | None = None
        self.last: GrowingAnswer | None = None

    @property
    def here(self) -> bool:
        """Whether an answer of the shown chat is being written."""
        return self.growing is not None and self._branch.shows(self.growing.turn)

    def answer(self, question_id: int) -> None:
        """Answer this next.

        Raises:
            LockedError: another program holds the history; the question waits, see `begin_if_ready`.
        """
        self.question_id = question_id
        self.begin_if_ready()

    def begin_if_ready(self) -> None:
        """Begin with the question that waits.

        Raises:
            LockedError: another program holds the history; it waits on, to be begun at another call.
        """
        engine, question_id, chat = self._model.engine, self.question_id, self._branch.chat
        if engine is None or question_id is None or self.growing is not None or chat is None:
            return
        self.question_id = None
        try:
            turn = self._branch.begin_answer(chat, question_id)
        except LockedError:
            self.question_id = question_id
            raise
        counted = self.meter.expect(keep="count" in engine.card.cannot)

        def stream(cancelled: Callable[[], bool]) -> Iterator[str | Progress | Reply]:
            conversation = self._conversations.up_to(question_id, engine.card)
            for item in engine.stream(conversation, self._sampling, cancelled=cancelled):
                if isinstance(item, Progress) and item.count is not None:
                    counted(item.count)
                yield item

        self.growing = GrowingAnswer(turn, stream, self._model.submit, self._clock, title_of(engine.card))

    def poll(self) -> None:
        """Take what came of the answer, save it each second, and end it."""
        answer = self.growing
        if answer is None:
            return
        grown = answer.take()
        if not answer.abandoned:
            if grown:
                self._out.add(AnswerGrew(answer.turn.id, grown))
            if answer.due:
                self._store.update_turn_text(answer.turn.id, answer.text)
                answer.saved()
        if answer.ended:
            self.growing, self.last = None, answer
            if not answer.abandoned:
                self._finish(answer)

    def stop(self) -> None:
        """End the answer after its current token."""
        if self.growing is not None:
            self.growing.pump.cancel()

    def abandon(self, chat_id: int) -> None:
        """The chat goes: an answer in it ends with what was said so far, and nothing more of it is shown."""
        answer = self.growing
        if answer is not None and answer.turn.chat_id == chat_id:
            answer.abandoned = True
            answer.pump.cancel()
            self._store.finish_turn(answer.turn.id, answer.text, "cancelled")

    def cut_off(self) -> None:
        """The program ends: keep what was said so far."""
        if self.growing is not None:
            answer, self.growing = self.growing, None
            self._store.finish_turn(answer.turn.id, answer.text, "cancelled")

    def recount(self) -> None:
        """Find out in the background how long the shown branch is."""
        engine, leaf_id = self._model.engine, self._branch.leaf_id
        if engine is None or self.here:
            self.meter.empty()  # asked again when a model is there, or the answer has ended
        elif leaf_id is None:
            self.meter.empty()
            self.meter.count = TokenCount(0, ())
        elif "count" in engine.card.cannot:
            self.meter.recall(self._branch.last_usage())
        else:
            self.meter.ask(lambda: engine.count(self._conversations.up_to(leaf_id, engine.card)))

    def _finish(self, answer: GrowingAnswer) -> None:
        if answer.error is not None:
            self._out.tell(answer.error)
        turn = self._store.finish_turn(
            answer.turn.id,
            answer.text,
            answer.status,
            reply=answer.reply,
            model=answer.model,
            error=reason(answer.error),
        )
        self._out.add(TurnFinished(turn))
        if answer.reply is not None and self._branch.leaf_id == turn.id:
            self.meter.settle(answer.reply)
        else:
            self.recount()
        self._branch.refresh()
