// A rectangle drawn over a picture, in the picture's own pixels, however it is zoomed, turned or mirrored.

import { made } from "./made.js";

const SMALLEST = 5; // CSS pixels: less is a click

// Returns what ends it. `done` gets {x, y, width, height}, or null where nothing was drawn.
export function drawRegion(pane, done, ended) {
  const box = made("div", { class: "box" });
  const sheet = made("div", { class: "draw", "aria-label": "Draw a rectangle. Escape ends it." }, box);
  let start = null;
  const at = (event) => {
    const frame = sheet.getBoundingClientRect();
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    return { x: within(event.clientX - frame.left, frame.width), y: within(event.clientY - frame.top, frame.height) };
  };
  const finish = (region) => {
    document.removeEventListener("keydown", escape, true);
    sheet.remove();
    ended();
    done(region);
  };
  const escape = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    finish(null);
  };
  sheet.addEventListener("pointerdown", (event) => {
    sheet.setPointerCapture(event.pointerId);
    start = at(event);
    event.stopPropagation();
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = at(event);
    Object.assign(box.style, {
      left: `${Math.min(start.x, end.x)}px`, top: `${Math.min(start.y, end.y)}px`,
      width: `${Math.abs(start.x - end.x)}px`, height: `${Math.abs(start.y - end.y)}px`,
    });
  });
  sheet.addEventListener("pointerup", (event) => {
    const end = at(event);
    const isClick = !start || Math.max(Math.abs(start.x - end.x), Math.abs(start.y - end.y)) < SMALLEST;
    if (isClick) start = null;
    else finish(inPicture(pane, start, end));
  });
  document.addEventListener("keydown", escape, true);
  pane.stage.append(sheet);
  return () => finish(null);
}

function inPicture(pane, ...corners) {
  const { width, height } = pane.picture;
  const frame = pane.viewport.getContainerSize().x;
  const [first, second] = corners.map(({ x, y }) => {
    const seen = pane.viewport.getFlip() ? frame - x : x; // OpenSeadragon knows nothing of the mirror here
    return pane.viewport.viewerElementToImageCoordinates(pane.point(seen, y));
  });
  const within = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
  const [left, right] = [first.x, second.x].map((x) => within(x, width)).sort((a, b) => a - b);
  const [top, bottom] = [first.y, second.y].map((y) => within(y, height)).sort((a, b) => a - b);
  return right > left && bottom > top ? { x: left, y: top, width: right - left, height: bottom - top } : null;
}
