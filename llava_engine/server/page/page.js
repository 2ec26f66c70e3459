// The page: what a person does becomes turns of a conversation and requests to the server, and answers become words.

import { Conversation } from "./conversation.js";
import { Tray, pictureFiles } from "./pictures.js";
import { Refused, answer, count, models, useKey, vote } from "./server.js";
import { sampling, startSettings, systemText } from "./settings.js";
import { drawTurn, drawWords } from "./transcript.js";

const element = (id) => document.getElementById(id);
const prompt = element("prompt");
const conversation = new Conversation();
const tray = new Tray(element("attached"), composerChanged);
let model = null;
let running = null; // {turn, abort} of the answer that is being written
let editing = null; // the turn whose words and pictures are in the composer
let votesKept = true;
let before = null; // what was in the composer before an edit

// ---- the model ----

async function meetModel() {
  try {
    [model] = await models();
    element("key-form").hidden = true;
    const facts = [model.id];
    if (model.max_model_len) facts.push(`${model.max_model_len.toLocaleString("en")} tokens`);
    if (model.picture_tokens) facts.push(`${model.picture_tokens.toLocaleString("en")} a picture`);
    element("model").textContent = element("model").title = facts.join(" · ");
    document.title = `${model.id} · llava`;
    element("preprocess-row").hidden = !model.preprocess?.length;
    votesKept = Boolean(model.votes);
    drawAll();
    showMeter();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      element("key-form").hidden = false;
      element("key").focus();
      element("model").textContent = "needs a key";
    } else {
      say(error.message);
      element("model").textContent = error.status === 503 ? "the model is being loaded" : "no model";
      if (error.status === 503) setTimeout(meetModel, 1000 * Math.max(1, error.retryAfter));
    }
  }
}

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("key").value);
  element("key").value = "";
  say("");
  meetModel();
});

// ---- asking ----

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});

function send() {
  const text = prompt.value.trim();
  if (running || tray.reading) return;
  if (!text && !tray.pictures.length) {
    if (editing) say("An empty message can not be sent.");
    return;
  }
  const fields = sampling();
  if (fields === null) return;
  if (editing) conversation.cutFrom(editing);
  leaveEditing();
  conversation.ask(text || "Describe the picture.", tray.take());
  setPrompt("");
  ask(fields);
}

function regenerate(turn) {
  if (running) return;
  const fields = sampling();
  if (fields === null) return;
  conversation.cutFrom(turn);
  if (editing && !conversation.turns.includes(editing)) leaveEditing();
  ask(fields);
}

async function ask(fields) {
  const turn = conversation.begin();
  const abort = new AbortController();
  running = { turn, abort };
  drawAll();
  toEnd();
  say("Waiting for the first word");
  const request = { model: model?.id, messages: conversation.messages(systemText(), turn), ...fields };
  const words = transcript.lastElementChild.querySelector(".words");
  let due = false;
  const told = (piece) => {
    if (!turn.text) say("Answering");
    turn.text += piece;
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      const atEnd = nearEnd();
      drawWords(words, turn.text);
      if (atEnd) toEnd();
    });
  };
  try {
    const { finish, usage } = await answer(request, abort.signal, told, () => say("Others are before you"));
    turn.usage = usage;
    if (finish === "length") turn.note = "Cut at the longest answer that was asked for, or that fits.";
    say("The answer is complete.");
  } catch (error) {
    if (error.name === "AbortError") {
      turn.note = turn.text ? "Stopped." : "Stopped before the first word.";
      say("Stopped.");
    } else {
      turn.error = error.retryAfter ? `${error.message} Try again in ${error.retryAfter} s.` : error.message;
      say("There is no answer: see above.");
      if (error.status === 401) meetModel();
    }
  }
  running = null;
  const atEnd = nearEnd();
  drawAll();
  if (atEnd) toEnd();
  showMeter();
}

function stop() {
  running?.abort.abort();
}

element("stop").addEventListener("click", stop);

// ---- what was said ----

const transcript = element("transcript");

function drawAll() {
  transcript.replaceChildren(...conversation.turns.map((turn) => drawTurn(turn, actionsOf(turn))));
  if (running) transcript.lastElementChild.setAttribute("aria-busy", "true");
  element("welcome").hidden = !conversation.empty;
  element("new-chat").disabled = conversation.empty;
  composerChanged();
}

function actionsOf(turn) {
  if (running) return [];
  if (turn.role === "user") return [["Edit", null, () => edit(turn)]];
  const actions = [];
  if (turn === conversation.last) {
    actions.push([turn.error || !turn.text ? "Try again" : "Regenerate", null, () => regenerate(turn)]);
  }
  if (turn.text) {
    actions.push(["Copy", null, () => copy(turn.text)]);
    if (votesKept) {
      actions.push(["Good", turn.vote === "upvote", () => rate(turn, "upvote")]);
      actions.push(["Bad", turn.vote === "downvote", () => rate(turn, "downvote")]);
      actions.push(["Flag", turn.vote === "flag", () => rate(turn, "flag")]);
    }
  }
  return actions;
}

function edit(turn) {
  if (!editing) before = { text: prompt.value, pictures: tray.pictures };
  editing = turn;
  setPrompt(turn.text);
  tray.put(turn.pictures);
  element("editing").hidden = false;
  prompt.focus();
}

function leaveEditing() {
  editing = null;
  before = null;
  element("editing").hidden = true;
}

element("cancel-edit").addEventListener("click", () => {
  const draft = before ?? { text: "", pictures: [] };
  leaveEditing();
  setPrompt(draft.text);
  tray.put(draft.pictures);
  prompt.focus();
});

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch (error) {
    say("The browser did not let the page copy it.");
  }
}

async function rate(turn, type) {
  const next = conversation.turns[conversation.turns.indexOf(turn) + 1] ?? null;
  const messages = conversation.messages(systemText(), next);
  try {
    votesKept = await vote({ type, model: model?.id, messages });
    if (votesKept) turn.vote = type;
    say(votesKept ? "Thank you, it was noted." : "This server keeps no votes.");
  } catch (error) {
    say(error.message);
  }
  drawAll();
}

element("new-chat").addEventListener("click", () => {
  if (!conversation.empty && !confirm("Begin a new chat? This one is kept nowhere.")) return;
  stop();
  running = null;
  leaveEditing();
  conversation.turns = [];
  drawAll();
  showMeter();
  say("");
  prompt.focus();
});

window.addEventListener("beforeunload", (event) => {
  if (!conversation.empty) event.preventDefault();
});

// ---- the composer ----

function composerChanged() {
  const nothing = !prompt.value.trim() && !tray.pictures.length;
  element("send").disabled = nothing || Boolean(running) || tray.reading > 0;
  element("send").hidden = Boolean(running);
  element("stop").hidden = !running;
  recount();
}

function setPrompt(text) {
  prompt.value = text;
  fit();
  composerChanged();
}

function fit() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight + 2}px`;
}

prompt.addEventListener("input", () => {
  fit();
  composerChanged();
});

prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  } else if (event.key === "ArrowUp" && !prompt.value && !editing && !running) {
    const turn = conversation.turns.findLast((one) => one.role === "user");
    if (turn) {
      event.preventDefault();
      edit(turn);
    }
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (running) stop();
  else if (editing) element("cancel-edit").click();
});

// ---- pictures ----

async function attach(files) {
  if (!files.length) return;
  const refused = await tray.add(files);
  if (refused.length) say(`No picture: ${refused.join(", ")}`);
  else say(tray.pictures.length === 1 ? "1 picture" : `${tray.pictures.length} pictures`);
  prompt.focus();
}

element("choose").addEventListener("click", () => element("files").click());
element("files").addEventListener("change", async () => {
  await attach(element("files").files);
  element("files").value = "";
});
document.addEventListener("paste", (event) => {
  const files = pictureFiles(event.clipboardData);
  if (files.length) {
    event.preventDefault();
    attach(files);
  }
});
let dragged = 0;
document.addEventListener("dragenter", (event) => {
  event.preventDefault();
  dragged += 1;
  element("drop").hidden = false;
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("dragleave", () => {
  dragged = Math.max(0, dragged - 1);
  element("drop").hidden = dragged === 0;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dragged = 0;
  element("drop").hidden = true;
  attach(pictureFiles(event.dataTransfer));
});

// ---- status, context, reading position ----

function say(text) {
  element("status").textContent = text;
}

let counting = 0;

/** Count what would be sent, a moment after the last change. */
function recount() {
  clearTimeout(counting);
  if (running || !model) return;
  counting = setTimeout(async () => {
    const draft = new Conversation();
    draft.turns = editing ? conversation.turns.slice(0, conversation.turns.indexOf(editing)) : [...conversation.turns];
    if (!prompt.value.trim() && !tray.pictures.length) {
      showMeter();
      return;
    }
    draft.ask(prompt.value.trim(), tray.pictures);
    const asked = counting;
    const tokens = await count({ model: model.id, messages: draft.messages(systemText()) });
    if (tokens !== null && asked === counting && !running) showTokens(tokens);
  }, 400);
}

function showMeter() {
  showTokens(conversation.tokens);
}

function showTokens(tokens) {
  const most = model?.max_model_len;
  const known = tokens !== null && !conversation.empty || tokens > 0;
  element("meter-text").textContent = !known
    ? ""
    : most
      ? `${tokens.toLocaleString("en")} of ${most.toLocaleString("en")} tokens`
      : `${tokens.toLocaleString("en")} tokens`;
  element("meter-bar").hidden = !known || !most;
  if (known && most) element("meter-bar").value = Math.min(1, tokens / most);
}

function nearEnd() {
  const main = document.querySelector("main");
  return main.scrollHeight - main.scrollTop - main.clientHeight < 80;
}

function toEnd() {
  const main = document.querySelector("main");
  main.scrollTop = main.scrollHeight;
}

startSettings();
drawAll();
meetModel();
