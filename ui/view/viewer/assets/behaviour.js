// What the page does in the browser by itself: its keys and their list, the focus after a change of the page or of what
// was asked, pictures from the clipboard, and a mark on what is typed and not searched.
// Its data is of `ui/view/behaviour/shown.py`.

import { made } from "./made.js";

const KEYS = [
  ["/", "to the query's field", () => focus(panel()?.querySelector("textarea, input"))],
  ["j", "to the next case", () => step(1)],
  ["k", "to the case before", () => step(-1)],
  ["Enter", "on a case: its picture enlarged", null],
  ["v", "this case beside the query", () => press("compare")],
  ["o", "open this case", () => press("open")],
  ["p", "pin this case, or take it from the review", () => press("pin") || press("unpin")],
  ["m", "more on this case, and what its number is made of", () => focus(card()?.querySelector("[data-testid=stPopover] button"))?.click()],
  ["b", "back to the search", () => named("Back to the search")?.click()],
  ["Ctrl+Enter", "in a field: search", null],
  ["Ctrl+V", "a picture of the clipboard becomes the query's", null],
  ["?", "this list; on a picture, the picture's own keys", () => help()],
];
const SHEET = `
  :host { font: var(--coin-text)/1.4 "Source Sans", sans-serif; color: var(--coin-ink); }
  button { font: inherit; color: inherit; background: var(--coin-ground); border: 1px solid var(--coin-line); border-radius: var(--coin-radius); padding: 5px 10px; cursor: pointer; }
  button:focus-visible { outline: 3px solid var(--coin-primary); outline-offset: 1px; }
  dialog { color: inherit; background: var(--coin-ground); border: 1px solid var(--coin-line); border-radius: var(--coin-radius); padding: var(--coin-gap-large); max-width: 34rem; }
  h2 { margin: 0 0 var(--coin-gap); font-size: var(--coin-text-large); }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px var(--coin-gap-large); margin: 0 0 var(--coin-gap); }
  dt { font-weight: 600; }
  dd { margin: 0; }
  .said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

// Of one click Streamlit makes up to three entries of the browser's history, the first of them the page that is left with
// the address of the one that comes: the back button led to pages that nobody had opened. A click or key makes one entry.
let entered = true;
for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => { entered = false; }, { capture: true });
const push = history.pushState.bind(history);
history.pushState = (...address) => {
  (entered ? history.replaceState.bind(history) : push)(...address);
  entered = true;
};

// One page, one state: Streamlit may make the element anew on another page.
const state = { page: null, asked: null, searched: {}, dialog: null, rank: 0 };

export default function behaviour({ data, parentElement }) {
  let said = parentElement.querySelector(".said");
  if (!said) said = build(parentElement);
  if (said.textContent !== data.said) said.textContent = data.said;
  state.searched = data.searched;
  const turned = state.page !== null && state.page !== data.page;
  const asked = state.asked !== null && state.asked !== data.asked;
  state.page = data.page;
  state.asked = data.asked;
  if (turned) toHeading();
  if (asked) found(".st-key-question h2, .st-key-refused h2", intoSight);
  if (turned || asked) [state.rank, last] = [0, null];
  markDrafts();
  // Those that failed before this script was there.
  for (const picture of document.querySelectorAll(".coin-picture")) if (picture.complete && !picture.naturalWidth) explain(picture);
}

function build(root) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(SHEET);
  root.adoptedStyleSheets = [sheet];
  const close = made("button", { type: "button" }, "Close");
  const list = made("dl", {}, ...KEYS.flatMap(([key, words]) => [made("dt", {}, key), made("dd", {}, words)]));
  state.dialog = made("dialog", { "aria-labelledby": "keys" }, made("h2", { id: "keys" }, "Keys"), list, close);
  close.onclick = () => state.dialog.close();
  const open = made("button", { type: "button" }, "Keys (?)");
  open.onclick = help;
  const said = made("p", { class: "said", role: "status" });
  root.replaceChildren(open, state.dialog, said);
  return said;
}

function help() {
  if (!state.dialog.open) state.dialog.showModal();
}

// What is rendered after this: looked for until it is there, or the reader does something else.
function found(selector, then, until = performance.now() + 60000) {
  const element = document.querySelector(selector);
  if (element && !element.closest("[data-stale=true]")) then(element);
  else if (performance.now() < until) setTimeout(() => found(selector, then, until), 50);
}

// The heading of the page before may still stand there, and take the focus with it when it goes.
function toHeading(until = performance.now() + 3000) {
  if (document.activeElement === document.body) focus(document.querySelector(".stMain h1"));
  if (performance.now() < until) setTimeout(() => toHeading(until), 100);
}

function focus(element) {
  if (!element) return null;
  if (!element.matches("a, button, input, textarea")) element.tabIndex = -1;
  element.focus();
  return element;
}

// Pictures above it come later and would push it away again: for a while, until the reader does something.
function intoSight(heading, begun = performance.now()) {
  if (touched > begun) return;
  const { top } = heading.getBoundingClientRect();
  if (top < 0 || top >= innerHeight / 4) {
    focus(heading);
    heading.scrollIntoView({ block: "start" });
  }
  if (performance.now() < begun + 5000) setTimeout(() => intoSight(heading, begun), 200);
}

// Cards that are drawn anew, as when images join, take the focus with them: it goes back to the same card.
let last = null;
addEventListener("focusin", ({ target }) => {
  const picture = target.closest?.("[class*=st-key-enlarge-]");
  last = picture ? /st-key-enlarge-([\w-]+)/.exec(picture.className)[1] : null;
});
addEventListener("pointerdown", () => { last = null; }, { capture: true });
setInterval(() => {
  if (last && document.activeElement === document.body) focus(document.querySelector(`.st-key-enlarge-${last} button`));
}, 300);

// In the place of a picture that does not come: the server's own sentence.
async function explain(picture) {
  let text = "The server does not answer. Load the page again.";
  try {
    const answer = await fetch(picture.src);
    if (answer.ok) return; // it is on its way
    text = await answer.text();
  } catch { /* the sentence stands */ }
  if (picture.isConnected) picture.replaceWith(made("p", { role: "alert" }, `${picture.alt}: ${text}`));
}

addEventListener("error", ({ target }) => {
  if (target instanceof HTMLImageElement && target.classList.contains("coin-picture")) explain(target);
}, { capture: true });

let touched = 0;
for (const kind of ["keydown", "pointerdown", "touchmove", "wheel"]) {
  addEventListener(kind, () => { touched = performance.now(); }, { capture: true, passive: true });
}

const panel = () => document.querySelector(".st-key-query_panel");
const card = () => document.querySelector(`.st-key-card-${state.rank}`);
const named = (label) => [...document.querySelectorAll(".stMain button")].find((button) => button.textContent === label);

function step(by) {
  const within = document.activeElement?.closest("[class*=st-key-card-]");
  const at = within ? Number(/st-key-card-(\d+)/.exec(within.className)[1]) : state.rank;
  const next = document.querySelector(`.st-key-enlarge-${at + by} button`);
  if (!next) return;
  state.rank = at + by;
  focus(next);
  card().scrollIntoView({ block: "nearest" });
}

function press(what) {
  const within = document.activeElement?.closest("[class*=st-key-card-]");
  const rank = within ? /st-key-card-(\d+)/.exec(within.className)[1] : state.rank;
  const button = document.querySelector(`.st-key-${what}-${rank} button`);
  button?.click();
  return Boolean(button);
}

const WRITES = "input, textarea, select, [contenteditable=true], [role=combobox], [role=dialog]";

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || state.dialog?.open) return;
  const target = event.composedPath()[0];
  // The viewer has keys of its own while it has the focus.
  if (target.closest?.(`${WRITES}, .stage`) || document.activeElement?.closest(WRITES)) return;
  const key = KEYS.find(([name, , action]) => action && name === event.key);
  if (!key) return;
  event.preventDefault();
  event.stopPropagation();
  key[2]();
});

document.addEventListener("paste", (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  const kinds = document.querySelector(".st-key-search_by");
  if (!picture || !kinds) return;
  event.preventDefault();
  if (!panel().querySelector("input[type=file]")) [...kinds.querySelectorAll("button")].find((kind) => kind.textContent === "Image").click();
  found(".st-key-query_panel input[type=file]", (field) => {
    const files = new DataTransfer();
    files.items.add(new File([picture], "pasted.png", { type: picture.type }));
    field.files = files.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });
});

// A form keeps what is typed to itself until it is sent, so that only the page can tell.
function markDrafts() {
  const form = panel();
  if (!form) return;
  const fields = [...form.querySelectorAll("textarea, input[aria-label]")].map((field) => [field.getAttribute("aria-label"), field.value]);
  const files = [...form.querySelectorAll("[data-testid=stFileChipName]")].map((name) => ["file", name.title || name.textContent]);
  const typed = [...fields, ...files].filter(([name]) => name === "file" || name in state.searched);
  const differs = typed.some(([name, value]) => value.trim() !== (state.searched[name] ?? "").trim());
  if (form.dataset.draft !== String(differs)) form.dataset.draft = String(differs);
}

document.addEventListener("input", markDrafts);
new MutationObserver(markDrafts).observe(document.body, { childList: true, subtree: true });

// A file is made of what is stored: a click on one, straight from a note, waits until the page was drawn with the note.
let [before, noted] = ["", null];
addEventListener("focusin", ({ target }) => { before = target.value; });
addEventListener("focusout", ({ target }) => {
  if (target.closest?.("[class*=st-key-note-]") && target.value !== before) noted = drawn().then(() => { noted = null; });
});

function drawn() {
  const app = document.querySelector("[data-testid=stApp]");
  return new Promise((resolve) => {
    let ran = false;
    const observer = new MutationObserver(() => {
      const runs = app.dataset.testScriptState !== "notRunning";
      if (ran && !runs) resolve(observer.disconnect());
      ran ||= runs;
    });
    observer.observe(app, { attributeFilter: ["data-test-script-state"] });
    setTimeout(resolve, 10000);
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-testid=stDownloadButton] button");
  if (!button || !noted) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  await noted;
  button.click();
}, { capture: true });
