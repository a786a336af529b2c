// The viewer: pictures and slides with zoom, scale, rotation, several of them in step, and a region that is drawn.
// What it shows is data of `ui/view/viewer/component.py`; texts are set as text, never as markup.

import { Pane } from "./pane.js";
import { follow } from "./in_step.js";
import { made } from "./made.js";

const tables = new WeakMap();

// One style sheet for all viewers of a page. OpenSeadragon measures its frame, and must not begin before it is there.
let sheet;
async function style(root) {
  sheet ??= fetch(new URL("viewer.css", import.meta.url))
    .then((answer) => answer.text())
    .then((text) => new CSSStyleSheet().replace(text));
  root.adoptedStyleSheets = [await sheet];
}

// Streamlit calls this at every run of the page, with the same element; what it returns runs when the element goes.
export default function viewer(component) {
  const { parentElement } = component;
  if (!tables.has(parentElement)) tables.set(parentElement, new Table(parentElement));
  tables.get(parentElement).update(component);
  return () => {
    tables.get(parentElement)?.destroy();
    tables.delete(parentElement);
  };
}

class Table {
  constructor(parent) {
    this.row = made("div", { class: "panes" });
    this.element = made("div", { class: "table" }, this.row);
    this.element.hidden = true;
    parent.append(this.element);
    this.styled = style(parent).then(() => (this.element.hidden = false));
    this.panes = [];
    this.shown = "";
  }

  update(component) {
    this.send = component.setTriggerValue;
    const { panes, note, height, places, notice } = component.data;
    this.notice = notice;
    this.places = places;
    this.element.style.setProperty("--stage-height", height);
    // A picture stays at its zoom while what is said of it, or its marks, change.
    const shown = JSON.stringify(panes.map((pane) => pane.pictures));
    if (shown !== this.shown) {
      this.clear();
      this.shown = shown;
      this.panes = panes.map((pane) => new Pane(this, pane));
      this.leader = null;
      this.row.replaceChildren(...this.panes.map((pane) => pane.element));
      this.element.replaceChildren(...(panes.filter((pane) => pane.pictures.length).length > 1 ? [this.switches(note)] : []), this.row);
    }
    this.panes.forEach((pane, number) => pane.describe(panes[number]));
  }

  switches(note) {
    this.inStep = true;
    const step = made("button", { type: "button", "aria-pressed": "true" }, "Zoom and pan in step");
    step.onclick = () => {
      this.inStep = !this.inStep;
      step.setAttribute("aria-pressed", String(this.inStep));
      if (this.inStep) this.align();
    };
    const full = made("button", { type: "button" }, "All on the full screen");
    full.onclick = () => (document.fullscreenElement ? document.exitFullscreen() : this.element.requestFullscreen());
    this.note = made("span", { class: "soft" }, note);
    return made("div", { class: "note" }, step, full, this.note);
  }

  // Called by the pane that a person moves.
  moved(pane) {
    if (!this.inStep || this.panes.length < 2 || (this.leader && this.leader !== pane)) return;
    this.panes.forEach((other) => other !== pane && follow(pane, other, this.panes));
  }

  lead(pane) {
    this.leader = pane;
  }

  // Once all are open, and when one has another picture: the picture that needs most room sets the zoom of all.
  align() {
    if (!this.inStep || this.panes.length < 2 || !this.panes.every((pane) => pane.isOpen)) return;
    this.panes.forEach((pane) => pane.home(true));
    const widest = this.panes.reduce((least, pane) => (pane.pixelsPerUnit(this.panes) < least.pixelsPerUnit(this.panes) ? pane : least));
    this.leader = widest;
    this.moved(widest);
  }

  clear() {
    this.panes.forEach((pane) => pane.destroy());
    this.panes = [];
  }

  destroy() {
    this.clear();
    this.element.remove();
  }
}
