"use strict";
// The slices of a series with their overlays, the histogram, and the upload of an edited segmentation.
const byId = id => document.getElementById(id);

function viewer(root) {
  const AHEAD = 4, KEPT = 160;
  const place = root.dataset.series;
  const layers = { slice: byId("slice"), findings: byId("findings"), lobes: byId("lobes") };
  const slider = byId("position"), waiting = byId("waiting"), where = byId("where");
  const images = new Map();
  let slices = [], hasOverlays = false, wanted = 0, generation = 0;

  function load(address) {
    if (!images.has(address)) {
      const image = new Image();
      image.src = address;
      images.set(address, image.decode().then(() => address));
      images.get(address).catch(() => images.delete(address));
      if (images.size > KEPT) images.delete(images.keys().next().value);
    }
    return images.get(address);
  }

  const chosen = () => root.querySelector("input[name=window]:checked").value;

  function addresses(number) {
    const at = { slice: `${place}/slice/${number}/${chosen()}.png?${generation}` };
    if (hasOverlays && byId("show-findings").checked) at.findings = `${place}/overlay/${number}/findings.png?${generation}`;
    if (hasOverlays && byId("show-lobes").checked) at.lobes = `${place}/overlay/${number}/lobes.png?${generation}`;
    return at;
  }

  const area = square => square >= 100 ? `${(square / 100).toFixed(1)} cm²` : square > 0 ? `${square.toFixed(0)} mm²` : "none";

  function words(number) {
    const one = slices[number];
    const text = `Slice ${number + 1} of ${slices.length}, z ${one.mm.toFixed(1).replace("-", "\u2212")} mm`;
    return hasOverlays ? `${text}; ground glass ${area(one.ggo)}, consolidation ${area(one.consolidation)}` : text;
  }

  async function show(number) {
    wanted = Math.min(Math.max(number, 0), slices.length - 1);
    slider.value = wanted + 1;
    slider.setAttribute("aria-valuetext", words(wanted));
    where.textContent = words(wanted);
    mark();
    const now = wanted, at = addresses(now);
    try {
      await Promise.all(Object.values(at).map(load));
    } catch (error) {
      if (now === wanted) { waiting.textContent = "This slice can't be drawn."; waiting.hidden = false; }
      return;
    }
    if (now !== wanted) return;
    for (const [name, layer] of Object.entries(layers)) {
      layer.hidden = !(name in at);
      if (name in at) layer.src = at[name];
    }
    layers.slice.alt = words(now);
    layers.slice.dataset.shown = now;
    waiting.hidden = true;
    for (let step = 1; step <= AHEAD; step++) {
      for (const next of [now + step, now - step]) {
        if (next >= 0 && next < slices.length && now === wanted) Object.values(addresses(next)).forEach(load);
      }
    }
  }

  function drawing(name, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function mark() {
    const line = byId("profile").querySelector(".mark");
    if (line) { line.setAttribute("x1", wanted + 0.5); line.setAttribute("x2", wanted + 0.5); }
  }

  function profile() {
    const chart = byId("profile");
    const highest = Math.max(...slices.map(one => one.ggo + one.consolidation), 1);
    chart.setAttribute("viewBox", `0 0 ${slices.length} 40`);
    slices.forEach((one, index) => {
      const below = 39 * one.consolidation / highest, above = 39 * one.ggo / highest;
      if (below) chart.append(drawing("rect", { class: "consolidation", x: index, width: 1, y: 40 - below, height: below }));
      if (above) chart.append(drawing("rect", { class: "ggo", x: index, width: 1, y: 40 - below - above, height: above }));
    });
    chart.append(drawing("line", { class: "mark", x1: 0, x2: 0, y1: 0, y2: 40 }));
    chart.addEventListener("pointerdown", event => {
      const box = chart.getBoundingClientRect();
      show(Math.floor(slices.length * (event.clientX - box.left) / box.width));
    });
  }

  function keys(numbers) {
    for (const number of numbers) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      const lesion = slices[number].ggo + slices[number].consolidation;
      button.textContent = lesion ? `Slice ${number + 1}: ${area(lesion)}` : `Slice ${number + 1}`;
      button.addEventListener("click", () => show(number));
      byId("keys").append(button);
    }
  }

  async function begin() {
    let content;
    try {
      const answer = await fetch(`${place}/slices`);
      if (!answer.ok) throw new Error((await answer.text()).trim());
      content = await answer.json();
    } catch (error) {
      waiting.textContent = `There are no pictures: ${error.message}`;
      return;
    }
    ({ slices, overlays: hasOverlays, generation } = content);
    slider.max = slices.length;
    slider.disabled = false;
    for (const id of ["show-findings", "show-lobes", "opacity"]) byId(id).disabled = !hasOverlays;
    profile();
    keys(content.key);
    show(content.key.reduce((best, one) => weight(one) > weight(best) ? one : best, content.key[0]));
  }

  const weight = number => slices[number].ggo + slices[number].consolidation;

  slider.addEventListener("input", () => show(slider.value - 1));
  byId("stack").addEventListener("wheel", event => {
    event.preventDefault();
    if (slices.length) show(wanted + Math.sign(event.deltaY));
  }, { passive: false });
  for (const input of root.querySelectorAll("input[type=checkbox], input[type=radio]")) {
    input.addEventListener("change", () => slices.length && show(wanted));
  }
  byId("opacity").addEventListener("input", event => {
    for (const name of ["findings", "lobes"]) layers[name].style.opacity = event.target.value / 100;
  });
  document.addEventListener("keydown", event => {
    if (!slices.length || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
    if (event.key.toLowerCase() === "o") {
      byId("show-findings").click();
    } else if (event.key in steps && root.contains(event.target)) {
      event.preventDefault();
      show(wanted + steps[event.key]);
    }
  });
  begin();
}

async function histogram(root) {
  try {
    const answer = await fetch(root.dataset.source, { headers: { Accept: "text/plain" } });
    const text = await answer.text();
    if (answer.ok) root.innerHTML = text; else root.firstElementChild.textContent = text;
  } catch (error) {
    root.firstElementChild.textContent = "The node doesn't answer.";
  }
}

function correction(form) {
  const said = byId("correct-said"), button = form.querySelector("button");
  form.addEventListener("submit", async event => {
    event.preventDefault();
    button.disabled = true;
    said.textContent = "Sending …";
    try {
      const answer = await fetch(form.dataset.place, {
        method: "POST", body: byId("edited").files[0], headers: { Accept: "text/plain" } });
      const text = (await answer.text()).trim();
      if (answer.ok) { location.assign(text); return; }
      said.textContent = text;
    } catch (error) {
      said.textContent = "The node doesn't answer.";
    }
    button.disabled = false;
  });
}

if (byId("viewer")) viewer(byId("viewer"));
if (byId("histogram")) histogram(byId("histogram"));
if (byId("correct")) correction(byId("correct"));
