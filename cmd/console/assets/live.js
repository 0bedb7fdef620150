"use strict";
// Has a part of a page go on by itself, from the stream that its data-stream
// names. Events of a stream: "part" replaces what stands in it, "lines" come
// before what stands in it, "over" ends it. Where there is no stream, htmx is told
// to ask ("poll"); a window that nobody sees asks for nothing.
(() => {
  const place = document.querySelector("[data-stream]");
  if (!place) return;
  const said = document.getElementById("said");
  const every = Number(place.dataset.every) || 5000;
  let source = null, refused = false, ended = false, last = "";

  const tell = (live) => { if (said) said.textContent = live ? said.dataset.live : said.dataset.still; };

  // Whoever has the keyboard in it, or has scrolled it, keeps that.
  const replace = (html) => {
    const at = document.activeElement, inside = place.contains(at) && at !== place;
    const find = inside && (at.id ? "#" + CSS.escape(at.id) : at.getAttribute("href") ? `[href="${CSS.escape(at.getAttribute("href"))}"]` : null);
    const scrolled = [...place.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    const region = inside ? [...place.querySelectorAll(".scroll")].indexOf(at) : -1;
    place.innerHTML = html;
    const regions = place.querySelectorAll(".scroll");
    regions.forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
    const again = region >= 0 ? regions[region] : find && place.querySelector(find);
    if (again) again.focus({ preventScroll: true });
    look();
  };

  const stop = () => { if (source) source.close(); source = null; };

  const start = () => {
    if (source || refused || ended || document.hidden || !window.EventSource) return;
    let address = place.dataset.stream;
    if (last) { const u = new URL(address, location); u.searchParams.set("from", last); address = u; }
    source = new EventSource(address);
    source.onopen = () => tell(true);
    source.onerror = () => {
      tell(false);
      if (source.readyState === EventSource.CLOSED) { refused = true; stop(); }
    };
    source.addEventListener("part", (e) => replace(e.data));
    source.addEventListener("lines", (e) => {
      last = e.lastEventId;
      place.insertAdjacentHTML("afterbegin", e.data);
      while (place.children.length > Number(place.dataset.most)) place.lastElementChild.remove();
    });
    source.addEventListener("over", (e) => {
      stop();
      tell(false);
      if (e.data === "signed out") location.reload(); // which leads to the form, and back
      else ended = true;
    });
  };

  // What htmx has fetched tells by data-over that nothing more is to come.
  const look = () => { if (place.querySelector("[data-over]")) { ended = true; stop(); } };
  place.addEventListener("htmx:afterSettle", look);

  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else { refused = false; start(); } });
  setInterval(() => {
    if (ended || document.hidden || source && source.readyState === EventSource.OPEN) return;
    place.dispatchEvent(new Event("poll"));
  }, every);
  tell(false);
  start();
})();
