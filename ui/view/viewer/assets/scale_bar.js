// The scale bar: a round length in µm, at most so many CSS pixels long.

import { made } from "./made.js";

const LONGEST = 130;

export function scaleBar(element, mpp, zoom) {
  if (!mpp) {
    element.textContent = "scale unknown";
    return;
  }
  const most = (LONGEST / zoom) * mpp; // µm
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  let bar = element.querySelector(".bar");
  if (!bar) {
    bar = made("span", { class: "bar" });
    element.replaceChildren(bar, "");
  }
  bar.style.width = `${(length / mpp) * zoom}px`;
  const words = length >= 1000 ? `${length / 1000} mm` : `${Number(length.toPrecision(1))} µm`;
  bar.nextSibling.textContent = words;
}
