// Several pictures moved as one: by lengths on the specimen where the scale of all is known, else by what fills a frame.

// How many units one pixel of a pane's picture is: µm, or CSS pixels of the picture when it fits its frame.
export function unit(pane, panes) {
  return panes.every((each) => each.picture.mpp) ? pane.picture.mpp : pane.fittedZoom();
}

// Show in `other` what `pane` shows: the same units a CSS pixel, and its anchor as far from the frame's middle.
export function follow(pane, other, panes) {
  if (!pane.isOpen || !other.isOpen) return;
  const zoom = (pane.imageZoom() / unit(pane, panes)) * unit(other, panes);
  const from = pane.anchorOnScreen();
  const { viewport } = other.viewer;
  viewport.zoomTo(viewport.imageToViewportZoom(zoom), null, true);
  const anchor = viewport.imageToViewportCoordinates(other.anchor());
  viewport.panTo(anchor, true);
  const shift = other.point(viewport.getFlip() ? from.x : -from.x, -from.y);
  viewport.panTo(anchor.plus(viewport.deltaPointsFromPixels(shift, true)), true);
}
