"use strict";
// Fetches the part of the page that changes, while somebody looks at it.
(() => {
  const EVERY_MS = 2000;
  const part = document.getElementById("now");
  const freshness = document.getElementById("freshness");
  const fresh = freshness.textContent;
  let last = "";

  function replace(text) {
    const focused = document.activeElement;
    const link = part.contains(focused) ? focused.getAttribute("href") || focused.getAttribute("aria-label") : null;
    const scrolled = new Map([...part.querySelectorAll(".scroll")].map(e => [e.getAttribute("aria-label"), e.scrollLeft]));
    part.innerHTML = text;
    for (const element of part.querySelectorAll(".scroll")) {
      element.scrollLeft = scrolled.get(element.getAttribute("aria-label")) || 0;
    }
    if (link !== null) {
      const again = [...part.querySelectorAll("a, [tabindex]")].find(
        e => (e.getAttribute("href") || e.getAttribute("aria-label")) === link);
      if (again) again.focus({ preventScroll: true });
    }
  }

  async function update() {
    if (!document.hidden) {
      try {
        const answer = await fetch(part.dataset.source, { headers: { Accept: "text/plain" }, redirect: "error" });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) throw new Error(answer.statusText);
        const text = await answer.text();
        if (text !== last) { replace(text); last = text; }
        freshness.textContent = fresh;
        freshness.classList.remove("bad");
      } catch (error) {
        freshness.textContent = freshness.dataset.stopped;
        freshness.classList.add("bad");
      }
    }
    setTimeout(update, EVERY_MS);
  }
  setTimeout(update, EVERY_MS);
})();
