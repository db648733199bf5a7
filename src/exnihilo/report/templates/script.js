(() => {
  "use strict";
  const read = (id) => document.getElementById(id).textContent;
  const specifications = JSON.parse(read("specifications"));
  const darkOf = JSON.parse(read("themes"));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const said = document.getElementById("said");
  const CHARACTER = 6.6, SPACING = 18;

  // Charts: the specification is refitted to the width at hand and to the color scheme, then drawn as SVG.

  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

  function themed(name) {
    const text = JSON.stringify(specifications[name]);
    return JSON.parse(dark.matches ? text.replace(/#[0-9a-f]{6}\b/gi, (hex) => darkOf[hex.toLowerCase()] ?? hex) : text);
  }

  function refitted(name, width) {
    const spec = themed(name);
    spec.background = null;
    const { own, longest, counts } = spec.usermeta;
    const limit = Math.round(clamp(width * 0.38, 90, 270));
    const panel = spec.facet ? refitPanels(spec, width, own, longest, limit) : width;
    if (!spec.facet) {
      spec.width = width;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    const view = spec.facet ? spec.spec : spec;
    const beside = Math.min(limit, (longest.y ?? 6) * CHARACTER);
    const room = panel - beside;
    const { axis, legend } = spec.config;
    axis.labelLimit = limit;
    legend.columns = clamp(Math.floor((width - beside) / ((longest.c ?? 1) * CHARACTER + 44)), 1, counts.c ?? 1);
    spec.config.axisXQuantitative.tickCount = clamp(Math.floor(room / 85), 2, 8);
    if (counts.x) {
      const flat = (counts.x * (longest.x * CHARACTER + 10)) < room;
      spec.config.axisXDiscrete.labelAngle = flat ? 0 : -35;
      const numbers = view.layer.findIndex((layer) => (layer.mark.type ?? layer.mark) === "text");
      if (numbers > 0 && room / counts.x < 38) view.layer.splice(numbers, 1);
    }
    if (counts.y) wrapCategories(spec, view, Math.floor(limit / 6));
    fitTitles(view, spec.facet ? panel : room, width - beside);
    spec.config.title.limit = width - 10;
    return spec;
  }

  function refitPanels(spec, width, own, longest, limit) {
    const axisRoom = Math.min(limit, (longest.y ?? 6) * CHARACTER) + 24;
    // Panels with scales of their own have axes of their own.
    const [once, each] = own ? [0, axisRoom] : [axisRoom, 0];
    const columns = clamp(Math.floor((width - once + SPACING) / (150 + each + SPACING)), 1, spec.columns);
    spec.columns = columns;
    spec.spec.width = Math.floor((width - once - SPACING * (columns - 1)) / columns - each);
    if (columns === 1) spec.spacing = 28;
    return spec.spec.width;
  }

  // Long names beside the rows break into lines, all into as many as the longest needs, and the rows grow.
  function wrapCategories(spec, view, characters) {
    const labels = [...new Set(spec.data.values.map((row) => String(row.y)))];
    const wanted = Math.max(...labels.map((label) => Math.ceil(label.length / characters)));
    if (wanted === 1) return;
    const lines = Object.fromEntries(labels.map((label) => [label, wrapped(label, Math.ceil(label.length / wanted) + 4)]));
    const most = Math.max(...Object.values(lines).map((entry) => entry.length));
    view.height = Math.max(view.height, labels.length * (13 * most + 12));
    const labelExpr = `${JSON.stringify(lines)}[datum.label]`;
    for (const layer of view.layer) {
      if (!layer.encoding?.y?.axis) continue;
      Object.assign(layer.encoding.y.axis, { labelExpr, labelLineHeight: 13, labelOffset: -6.5 * (most - 1) });
    }
  }

  // Long titles break into lines: that of the axis over the width of a panel, that of the color ramp over the figure's.
  function fitTitles(view, below, above) {
    for (const { encoding } of view.layer) {
      const axis = encoding?.x?.axis, ramp = encoding?.color?.legend;
      if (axis?.title) axis.title = lines(axis.title, below);
      if (!ramp?.gradientLength) continue;
      ramp.gradientLength = Math.min(ramp.gradientLength, above - 24);
      if (ramp.title) ramp.title = lines(ramp.title, above);
    }
  }

  function lines(title, room) {
    return title.length * CHARACTER > room ? wrapped(title, room / CHARACTER) : title;
  }

  function wrapped(text, characters) {
    const lines = [];
    for (const word of text.replaceAll(/ (?=[·=])|(?<==) /g, "\u00a0").split(" ")) {
      const last = lines.at(-1);
      if (last !== undefined && last.length + 1 + word.length <= characters) lines[lines.length - 1] = `${last} ${word}`;
      else lines.push(word);
    }
    return lines;
  }

  const views = new WeakMap();

  async function draw(figure) {
    const plot = figure.querySelector(".plot"), live = figure.querySelector(".live");
    const width = Math.floor(plot.clientWidth);
    const wanted = `${width} ${dark.matches}`;
    if (!width || figure.dataset.drawn === wanted) return;
    figure.dataset.drawn = wanted;
    const holder = document.createElement("div");
    // Drawn out of sight but with layout, so that the static figure stands until the live one is whole.
    const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "custom" } };
    const embed = (room) => vegaEmbed(holder, refitted(figure.dataset.figure, room), options);
    let result = await embed(width);
    // The room for labels is foretold from their characters; where they take more, the rest is drawn smaller.
    for (let room = width, tries = 0; tries < 3; tries += 1) {
      const excess = Math.ceil(holder.querySelector("svg").getAttribute("width") - width);
      if (excess <= 0) break;
      room -= excess;
      result.finalize();
      result = await embed(room);
    }
    if (figure.dataset.drawn !== wanted) return result.finalize();
    views.get(figure)?.finalize();
    views.set(figure, result);
    live.replaceChildren(holder);
    figure.classList.add("is-live");
  }

  // A chart that fails leaves its static figure in place.
  function attempt(figure) {
    draw(figure).catch((error) => {
      figure.dataset.failed = String(error);
      console.error(figure.dataset.figure, error);
    });
  }

  const figures = [...document.querySelectorAll(".figure")];
  const seen = new Set();
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.add(target);
      attempt(target);
    }
  }, { rootMargin: "700px 0px" });
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const figure = target.closest(".figure");
      if (seen.has(figure)) attempt(figure);
    }
  });
  for (const figure of figures) {
    near.observe(figure);
    sized.observe(figure.querySelector(".plot"));
  }
  dark.addEventListener("change", () => seen.forEach(attempt));

  // Copy buttons.

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      await copied(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      said.textContent = "Copied to the clipboard";
      button.focus();
      setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1600);
    });
  }

  // A box that scrolls can be reached by keyboard; one that does not is no stop on the way.

  const boxes = [...document.querySelectorAll(".scroll")];
  const stops = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  boxes.forEach((box) => stops.observe(box));

  // The rail marks the claim on screen.

  const marks = new Map([...document.querySelectorAll(".rail a")].map((link) => [link.hash.slice(1), link]));
  const passing = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) marks.get(target.id)?.setAttribute("aria-current", "location");
      else marks.get(target.id)?.removeAttribute("aria-current");
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  document.querySelectorAll("[data-claim]").forEach((claim) => passing.observe(claim));

  // Print opens every fold; afterwards they are as they were.

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((fold) => { fold.open = false; }));
})();
