// One picture at a time of one case, upload or slide: OpenSeadragon with our tools around it.

import { icon, made } from "./made.js";
import { scaleBar } from "./scale_bar.js";
import { drawRegion } from "./region.js";

const LARGEST = 8; // CSS pixels for one of the picture
const KEYS = [
  ["+ −", "zoom"], ["arrows", "pan"], ["0", "fit"], ["1", "one to one"], ["[ ]", "rotate"], ["m", "mirror"],
  ["f", "full screen"], ["d", "draw a region"], ["n p", "next, previous picture"], ["?", "this list"],
];

let loading;
function openSeadragon() {
  loading ??= new Promise((resolve, reject) => {
    const script = made("script", { src: new URL("openseadragon.min.js", import.meta.url).href });
    script.onload = () => resolve(window.OpenSeadragon);
    script.onerror = () => reject(new Error("The viewer's files could not be loaded. Load the page again."));
    document.head.append(script);
  });
  return loading;
}

export class Pane {
  constructor(table, pane) {
    this.table = table;
    this.pictures = pane.pictures;
    this.marks = [];
    this.title = made("h2");
    this.stage = made("div", { class: "stage", tabindex: "0", role: "application" });
    this.glass = made("div", { class: "glass" });
    this.scale = made("div", { class: "scale" });
    this.zoom = made("div", { class: "zoom" });
    this.stage.append(this.glass, this.scale, this.zoom, made("div", { class: "notice" }, table.notice));
    this.strip = made("div", { class: "strip" });
    this.label = made("p", { class: "label" });
    this.caption = made("p", { class: "soft" });
    this.report = made("p", { class: "report" });
    this.tools = made("div", { class: "tools", role: "toolbar" });
    this.element = made("section", { class: "pane" }, this.title, this.label, this.tools, this.stage, this.strip, this.caption, this.report);
    this.stage.addEventListener("keydown", (event) => this.key(event), true);
    this.stage.addEventListener("pointerdown", () => table.lead(this), true);
    this.stage.addEventListener("wheel", () => table.lead(this), { capture: true, passive: true });
    if (pane.pictures.length > 1) this.fillStrip();
    if (pane.pictures.length) this.show(Math.min(pane.start, pane.pictures.length - 1));
    else this.stage.hidden = this.tools.hidden = true;
  }

  // What may change while the picture stays as it is.
  describe(pane) {
    this.title.textContent = pane.title;
    this.title.hidden = !pane.title;
    this.report.replaceChildren(...pane.report.map(([text, shared]) => (shared ? made("mark", {}, text) : text)));
    this.report.hidden = !pane.report.length;
    this.region = pane.region;
    this.marks = pane.marks;
    this.fillTools();
    this.drawMarks();
  }

  get picture() {
    return this.pictures[this.number];
  }

  get isOpen() {
    return Boolean(this.viewer?.isOpen());
  }

  async show(number) {
    this.number = number;
    const { picture } = this;
    this.fillTools();
    this.stage.setAttribute("aria-label", `${picture.alt}. Press ? for the keys.`);
    this.label.textContent = picture.label;
    this.label.hidden = !picture.label;
    this.caption.textContent = picture.caption;
    this.caption.hidden = !picture.caption;
    [...this.strip.children].forEach((child, index) => child.setAttribute("aria-pressed", String(index === number)));
    this.viewer?.destroy();
    this.viewer = null;
    this.problem("");
    let OpenSeadragon;
    try {
      OpenSeadragon = await openSeadragon();
      await this.table.styled;
    } catch (error) {
      this.problem(error.message);
      return;
    }
    if (this.picture !== picture || this.gone) return;
    this.Point = OpenSeadragon.Point;
    this.viewer = OpenSeadragon({
      element: this.glass,
      drawer: "canvas",
      tileSources: source(picture),
      showNavigationControl: false,
      showNavigator: Boolean(picture.tiles),
      navigatorPosition: "TOP_RIGHT",
      ...overviewSize(picture, this.stage.clientWidth),
      navigatorAutoFade: false,
      navigatorBackground: "white",
      navigatorOpacity: 1,
      navigatorDisplayRegionColor: token("mark"),
      maxZoomPixelRatio: LARGEST,
      minZoomImageRatio: 0.4,
      visibilityRatio: 0.2,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.25,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
      keyboardNavEnabled: false,
    });
    this.viewer.addHandler("open", () => this.opened());
    this.viewer.addHandler("open-failed", () => this.explain(picture));
    this.viewer.addHandler("tile-load-failed", () => (picture.tiles ? this.explainTile(picture) : this.explain(picture)));
    this.viewer.addHandler("viewport-change", () => this.measure());
    this.viewer.addHandler("resize", () => setTimeout(() => this.isOpen && this.measure(), 60));
  }

  opened() {
    this.viewer.canvas.tabIndex = -1; // the stage around it takes the keys
    this.home(true);
    this.drawMarks();
    this.measure();
    this.table.align();
  }

  // Why there is no picture: the server's own sentence.
  async explain(picture) {
    let text = "The server does not answer. Load the page again.";
    try {
      const answer = await fetch(picture.url);
      text = answer.ok ? "The picture cannot be shown by this browser." : await answer.text();
    } catch { /* the sentence stands */ }
    if (this.picture === picture) this.problem(text);
  }

  explainTile(picture) {
    if (this.isOpen && this.picture === picture && !this.damaged) {
      this.damaged = true;
      this.caption.hidden = false;
      this.caption.textContent = `${picture.caption} Parts of the slide cannot be read; they stay empty.`;
    }
  }

  problem(text) {
    this.stage.querySelector(".problem")?.remove();
    if (text) this.stage.append(made("div", { class: "problem", role: "alert" }, text));
  }

  // Moving

  get viewport() {
    return this.viewer.viewport;
  }

  point(x, y) {
    return new this.Point(x, y);
  }

  imageZoom() {
    return this.viewport.viewportToImageZoom(this.viewport.getZoom(true));
  }

  fittedZoom() {
    const size = this.viewport.getContainerSize();
    const { width, height } = this.framed();
    return Math.min(size.x / width, size.y / height);
  }

  pixelsPerUnit(panes) {
    return this.fittedZoom() / (panes.every((pane) => pane.picture.mpp) ? this.picture.mpp : this.fittedZoom());
  }

  // The part that is shown first: a field of a slide, or all of a picture.
  framed() {
    const { at, width, height } = this.picture;
    return at ?? { x: 0, y: 0, width, height };
  }

  anchor() {
    const { x, y, width, height } = this.framed();
    return this.point(x + width / 2, y + height / 2);
  }

  // How far the anchor lies from the frame's middle, in CSS pixels to the right and down.
  anchorOnScreen() {
    const size = this.viewport.getContainerSize();
    const at = this.viewport.pixelFromPoint(this.viewport.imageToViewportCoordinates(this.anchor()), true);
    const x = at.x - size.x / 2;
    return { x: this.viewport.getFlip() ? -x : x, y: at.y - size.y / 2 };
  }

  home(immediately = false) {
    this.zoomTo(this.fittedZoom(), immediately);
    this.viewport.panTo(this.viewport.imageToViewportCoordinates(this.anchor()), immediately);
  }

  zoomTo(imageZoom, immediately = false) {
    this.viewport.zoomTo(this.viewport.imageToViewportZoom(imageZoom), null, immediately);
  }

  zoomBy(factor) {
    this.viewport.zoomBy(factor);
    this.viewport.applyConstraints();
  }

  panBy(x, y) {
    const size = this.viewport.getContainerSize();
    const pixels = this.point((this.viewport.getFlip() ? -x : x) * size.x, y * size.y);
    this.viewport.panBy(this.viewport.deltaPointsFromPixels(pixels));
    this.viewport.applyConstraints();
  }

  rotateBy(degrees) {
    this.viewport.setRotation(this.viewport.getRotation() + (this.viewport.getFlip() ? -degrees : degrees), true);
  }

  mirror() {
    this.viewport.setFlip(!this.viewport.getFlip());
    this.measure();
  }

  turn(step) {
    const count = this.pictures.length;
    if (count > 1) this.show((this.number + step + count) % count);
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen();
  }

  // Tools and keys

  fillTools() {
    const tools = [
      ["out", "Zoom out", () => this.zoomBy(1 / 1.4)],
      ["in", "Zoom in", () => this.zoomBy(1.4)],
      ["Fit", "Fit the frame", () => this.home()],
      ["1:1", "One to one: one pixel of the picture for one of the screen", () => this.zoomTo(1 / devicePixelRatio)],
      ["left", "Rotate to the left", () => this.rotateBy(-90)],
      ["right", "Rotate to the right", () => this.rotateBy(90)],
      ["mirror", "Mirror", () => this.mirror()],
      ["full", "Full screen", () => this.fullScreen()],
    ];
    this.tools.replaceChildren();
    if (this.region) tools.push(["region", this.region, () => this.draw()]);
    if (this.table.places && this.picture?.on_slide) {
      tools.push(["place", "Show on the slide", () => this.table.send("place", this.picture.id)]);
    }
    tools.push(["?", "Keys", () => this.help()]);
    for (const [name, words, act] of tools) {
      const isIcon = !["Fit", "1:1", "?"].includes(name);
      const button = made("button", { type: "button", title: words, "aria-label": words }, isIcon ? icon(name) : name);
      if (["region", "place"].includes(name)) button.append(words);
      button.onclick = () => {
        if (!this.isOpen && name !== "?") return;
        this.table.lead(this);
        act();
      };
      this.tools.append(button);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 0.5 : 0.15;
    const act = {
      "+": () => this.zoomBy(1.4), "=": () => this.zoomBy(1.4), "-": () => this.zoomBy(1 / 1.4),
      0: () => this.home(), 1: () => this.zoomTo(1 / devicePixelRatio),
      "[": () => this.rotateBy(-90), "]": () => this.rotateBy(90), m: () => this.mirror(), f: () => this.fullScreen(),
      d: () => this.region && this.draw(), n: () => this.turn(1), p: () => this.turn(-1), "?": () => this.help(),
      ArrowLeft: () => this.panBy(-step, 0), ArrowRight: () => this.panBy(step, 0),
      ArrowUp: () => this.panBy(0, -step), ArrowDown: () => this.panBy(0, step),
    }[event.key];
    // Streamlit's own keys (r, c) do nothing while a picture is looked at.
    if (act || ["r", "c"].includes(event.key)) event.stopPropagation();
    if (!act || (!this.isOpen && event.key !== "?")) return;
    event.preventDefault();
    this.table.lead(this);
    act();
  }

  help() {
    const shown = this.element.querySelector(".help");
    if (shown) shown.remove();
    else this.stage.append(made("ul", { class: "help" }, ...KEYS.map(([key, words]) => made("li", {}, made("kbd", {}, key), ` ${words}`))));
  }

  draw() {
    if (this.drawing) this.drawing();
    else this.drawing = drawRegion(this, (region) => region && this.table.send("region", { picture: this.picture.id, ...region }), () => (this.drawing = null));
  }

  fillStrip() {
    this.pictures.forEach((picture, number) => {
      const button = made("button", { type: "button", title: picture.alt, "aria-label": picture.alt });
      button.append(made("img", { src: picture.thumb, alt: "", loading: "lazy" }));
      button.onclick = () => this.show(number);
      this.strip.append(button);
    });
  }

  // What lies over the picture

  drawMarks() {
    if (!this.isOpen) return;
    this.viewer.clearOverlays();
    this.viewer.navigator?.clearOverlays();
    for (const mark of this.marks.filter((each) => each.picture === this.picture.id)) {
      const element = made("div", { class: mark.strong ? "mark" : "mark soft" });
      if (mark.name) element.append(made("span", {}, mark.name));
      const place = this.viewport.imageToViewportRectangle(mark.x, mark.y, mark.width, mark.height);
      this.viewer.addOverlay({ element, location: place });
      const { navigator } = this.viewer;
      const dot = made("div", { class: mark.strong ? "dot" : "dot soft" });
      navigator?.addOverlay({ element: dot, location: place.getCenter(), placement: "CENTER" });
    }
  }

  measure() {
    if (!this.isOpen) return;
    const zoom = this.imageZoom();
    scaleBar(this.scale, this.picture.mpp, zoom);
    this.zoom.textContent = `${Math.round(zoom * devicePixelRatio * 100)} %`;
    this.table.moved(this);
  }

  destroy() {
    this.gone = true;
    this.viewer?.destroy();
    this.viewer = null;
  }
}

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--coin-${name}`).trim();
}

// The overview of a slide: as wide as fits, in the slide's own proportions.
function overviewSize({ width, height }, room) {
  const edge = Math.min(200, 0.3 * room);
  const scale = edge / Math.max(width, height);
  return { navigatorWidth: `${Math.round(width * scale)}px`, navigatorHeight: `${Math.round(height * scale)}px` };
}

function source(picture) {
  const { tiles, width, height } = picture;
  if (!tiles) return { type: "image", url: picture.url };
  const getTileUrl = (level, x, y) => `${picture.url}/${level}/${x}_${y}.jpg`;
  return { width, height, tileSize: tiles.size, minLevel: tiles.first, maxLevel: tiles.last, getTileUrl };
}
