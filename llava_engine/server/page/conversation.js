// What was said, as data: turns, their pictures, and the request that asks for the next answer. Knows no page.

/** A turn: {role, text, pictures: [{url, name}], finish, usage, error, vote}; the last two for answers only. */
export class Conversation {
  constructor() {
    this.turns = [];
  }

  get empty() {
    return this.turns.length === 0;
  }

  get last() {
    return this.turns.at(-1);
  }

  ask(text, pictures) {
    this.turns.push({ role: "user", text, pictures });
  }

  begin() {
    const turn = { role: "assistant", text: "", pictures: [] };
    this.turns.push(turn);
    return turn;
  }

  /** Drop a turn and all that follows it; returns that turn. */
  cutFrom(turn) {
    const at = this.turns.indexOf(turn);
    this.turns.length = at < 0 ? this.turns.length : at;
    return turn;
  }

  /** The usage that the server told last: how full the context is. */
  get tokens() {
    const usage = this.turns.findLast((turn) => turn.usage)?.usage;
    return usage ? usage.prompt_tokens + usage.completion_tokens : null;
  }

  /** Messages of the API up to, but not with, `until`. An answer that failed without a word is left out. */
  messages(system, until = null) {
    const read = [];
    for (const turn of this.turns) {
      if (turn === until) break;
      if (turn.role === "assistant") {
        if (turn.text) read.push({ role: "assistant", content: turn.text });
        continue;
      }
      const parts = turn.pictures.map((picture) => ({ type: "image_url", image_url: { url: picture.url } }));
      if (turn.text) parts.push({ type: "text", text: turn.text });
      read.push({ role: "user", content: parts });
    }
    return system ? [{ role: "system", content: system }, ...read] : read;
  }
}
