// Elements of the page, made without markup.

export function made(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const DRAWN = {
  in: "M12 5v14M5 12h14",
  out: "M5 12h14",
  left: "M4 5v5h5M4.5 10A8 8 0 1 1 5 16",
  right: "M20 5v5h-5M19.5 10A8 8 0 1 0 19 16",
  mirror: "M12 3v18M9 7l-5 10h5zM15 7l5 10h-5z",
  full: "M8 3H3v5M16 3h5v5M8 21H3v-5M16 21h5v-5",
  place: "M12 21s7-6.5 7-11a7 7 0 1 0-14 0c0 4.5 7 11 7 11zM12 8v4M10 10h4",
  region: "M4 4h3M10 4h4M17 4h3v3M20 10v4M20 17v3h-3M14 20h-4M7 20H4v-3M4 14v-4M4 7V4",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", DRAWN[name]);
  drawing.append(path);
  return drawing;
}
