// What a person sets beside the conversation, kept in this browser: sampling, system text, colours.

const FIELDS = ["temperature", "top_p", "max_tokens", "seed"];
const KEPT = "llava-settings";
const THEMES = { auto: ["Auto", "as the system"], light: ["Light", "light"], dark: ["Dark", "dark"] };

const element = (id) => document.getElementById(id);

/** Show what was kept, and keep what is changed. */
export function startSettings() {
  const kept = read(KEPT);
  for (const id of [...FIELDS, "system", "preprocess"]) {
    element(id).value = kept[id] ?? "";
    element(id).addEventListener("change", keep);
  }
  element("settings").addEventListener("submit", (event) => event.preventDefault());
  element("show-settings").addEventListener("click", () => {
    const form = element("settings");
    form.hidden = !form.hidden;
    element("show-settings").setAttribute("aria-expanded", String(!form.hidden));
  });
  showTheme(localStorage.getItem("llava-theme"));
  element("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const now = localStorage.getItem("llava-theme") ?? "auto";
    const next = names[(names.indexOf(now) + 1) % names.length];
    localStorage.setItem("llava-theme", next);
    showTheme(next);
  });
}

/** The system text, "" for the model's own. */
export function systemText() {
  return element("system").value.trim();
}

/** The fields of a request that were set; null with the focus on a field that holds no such number. */
export function sampling() {
  const fields = {};
  for (const id of FIELDS) {
    const input = element(id);
    if (!input.checkValidity()) {
      element("settings").hidden = false;
      element("show-settings").setAttribute("aria-expanded", "true");
      input.reportValidity();
      return null;
    }
    if (input.value !== "") fields[id] = Number(input.value);
  }
  const preprocess = element("preprocess").value;
  if (preprocess && !element("preprocess-row").hidden) fields.llava_preprocess = preprocess;
  return fields;
}

function keep() {
  const values = {};
  for (const id of [...FIELDS, "system", "preprocess"]) values[id] = element(id).value;
  localStorage.setItem(KEPT, JSON.stringify(values));
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? {};
  } catch (error) {
    return {};
  }
}

function showTheme(name) {
  const [label, meaning] = THEMES[name] ?? THEMES.auto;
  if (name === "light" || name === "dark") document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  element("theme").textContent = label;
  element("theme").setAttribute("aria-label", `Colours: ${meaning}`);
}
