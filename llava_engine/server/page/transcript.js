// Turns as elements. Words of people and models are text nodes, never markup, so that nothing in them can run.

import { shown } from "./pictures.js";

/** A turn's element; `actions` is a list of [label, pressed or null, action]. */
export function drawTurn(turn, actions) {
  const article = document.createElement("article");
  article.className = `turn ${turn.role}`;
  const who = document.createElement("p");
  who.className = "who";
  who.textContent = turn.role === "user" ? "You" : "llava";
  article.append(who);
  if (turn.pictures.length) article.append(drawPictures(turn.pictures));
  const words = document.createElement("div");
  words.className = "words";
  drawWords(words, turn.text);
  if (turn.text || turn.role === "assistant") article.append(words);
  if (turn.note) article.append(line("note", turn.note));
  if (turn.error) article.append(line("error", turn.error));
  if (actions.length) article.append(drawActions(actions));
  return article;
}

/** Text with ``` blocks set apart. */
export function drawWords(element, text) {
  const parts = text.split(/^```[^\n]*\n?/m);
  const nodes = parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    const block = document.createElement("pre");
    block.textContent = part.replace(/\n$/, "");
    block.tabIndex = 0;
    return block;
  });
  element.replaceChildren(...nodes);
}

function drawPictures(pictures) {
  const all = document.createElement("div");
  all.className = "pictures";
  all.append(
    ...pictures.map((picture, index) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = pictures.length > 1 ? `${index + 1}. ${picture.name}` : picture.name;
      figure.append(shown(picture), caption);
      return figure;
    }),
  );
  return all;
}

function drawActions(actions) {
  const row = document.createElement("div");
  row.className = "actions";
  row.append(
    ...actions.map(([label, pressed, action]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
      button.addEventListener("click", action);
      return button;
    }),
  );
  return row;
}

function line(kind, text) {
  const element = document.createElement("p");
  element.className = kind;
  element.textContent = text;
  return element;
}
