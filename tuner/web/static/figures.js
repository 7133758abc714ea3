// Figures: an element with data-figure="URL" is drawn by Plotly from the JSON that is there, once it
// is in sight, and again after a change (data-follows, as in live.js). Plotly's script is fetched
// with the first of them: its address is in data-plotly of this script's element.
"use strict";

(() => {
  const PLOTLY = document.currentScript.dataset.plotly;
  // Drawing takes much more than fetching: a figure whose drawing took t rests for 100 t.
  const LEAST_GAP_MS = 5000;
  const LONGEST_GAP_MS = 30000;
  const GAP_FOR_COST = 100;
  const HEIGHT = 300;
  const FACE = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
  // Okabe and Ito's colours, which colour-blind readers can tell apart; lighter ones in the dark.
  const THEMES = {
    light: {
      text: "#1d2129", dim: "#5b6371", line: "#e4e7ec", ground: "#ffffff", pale: "#9aa5b1",
      series: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87f00",
        "#3a8fc7", "#000000", "#8a7f00", "#777777", "#882255"],
    },
    dark: {
      text: "#e4e7ec", dim: "#9aa3b2", line: "#2a303a", ground: "#14171c", pale: "#67707f",
      series: ["#56b4e9", "#ff8a4c", "#2fd0a0", "#e79bc6", "#e6b44c",
        "#8fd0ff", "#ffffff", "#f0e442", "#aaaaaa", "#d46a96"],
    },
  };
  const CONFIG = {
    displaylogo: false,
    // Else a button would send the figure to Plotly's company.
    showSendToCloud: false,
    plotlyServerURL: "",
    responsive: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
  };
  // `failed`: it is tried again with the next event, whatever has changed.
  const FRESH = { stale: true, busy: false, failed: false, next: 0, timer: 0, mark: "", shown: null };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const figures = new Map();
  let plotly = null;
  let isPrinting = false;

  function theme() {
    return dark.matches && !isPrinting ? THEMES.dark : THEMES.light;
  }

  function loadPlotly() {
    plotly ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = PLOTLY;
      // While it starts, it adds rules for maps, which nothing here draws, as an inline style. The
      // page's policy refuses those, and says so in the console.
      const head = document.head;
      head.appendChild = (node) => (node.nodeName === "STYLE" ? node : head.append(node) ?? node);
      script.addEventListener("load", () => {
        delete head.appendChild;
        resolve(window.Plotly);
      });
      script.addEventListener("error", () => reject(new Error("Plotly cannot be loaded")));
      document.head.append(script);
    });
    return plotly;
  }

  // Which figures are drawn, and when

  const sight = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const state = figures.get(target);
        if (!state) continue;
        state.inSight = isIntersecting;
        if (isIntersecting) wish(target);
      }
    },
    { rootMargin: "200px" },
  );

  function find(root) {
    for (const element of root.querySelectorAll("[data-figure]")) {
      if (figures.has(element)) continue;
      figures.set(element, { ...FRESH });
      sight.observe(element);
    }
    for (const element of figures.keys()) {
      if (element.isConnected) continue;
      sight.unobserve(element);
      figures.delete(element);
    }
  }

  function wish(element) {
    const state = figures.get(element);
    if (!state.stale || !state.inSight || state.busy || state.timer) return;
    const wait = Math.max(0, state.next - performance.now());
    state.timer = setTimeout(() => {
      state.timer = 0;
      if (state.stale && state.inSight && element.isConnected) renew(element, state);
    }, wait);
  }

  async function renew(element, state) {
    state.busy = true;
    state.stale = false;
    state.failed = false;
    let cost = 0;
    try {
      const fresh = await fetched(element, state);
      if (fresh !== null) {
        const library = fresh.panels ? await loadPlotly() : null;
        const begun = performance.now();
        state.mark = fresh.mark;
        state.shown = fresh;
        await draw(element, fresh, library);
        cost = performance.now() - begun;
      }
    } catch (error) {
      state.failed = true;
      note(element, `This figure cannot be drawn: ${error.message}`);
    }
    const rest = Math.min(Math.max(LEAST_GAP_MS, GAP_FOR_COST * cost), LONGEST_GAP_MS);
    state.next = performance.now() + rest;
    state.busy = false;
    wish(element);
  }

  // The figure's JSON; null where nothing has changed.
  async function fetched(element, state) {
    const url = new URL(element.dataset.figure, location.href);
    url.searchParams.set("have", state.mark);
    const response = await fetch(url, { headers: { accept: "application/json" } });
    if (response.status === 204) return null;
    if (!response.ok) throw new Error((await response.text()).trim());
    return response.json();
  }

  // Drawing

  async function draw(element, figure, library) {
    const panels = placeOf(element, ".panels", "div");
    const caption = placeOf(element, ".caption", "p");
    const sentences = figure.caption || [];
    caption.classList.add("dim");
    caption.textContent = sentences.join("; ");
    caption.hidden = sentences.length === 0;
    if (figure.note !== undefined) return note(element, figure.note);
    for (const child of [...panels.children]) {
      if (!child.classList.contains("panel")) child.remove();
    }
    panels.classList.toggle("many", figure.panels.length > 1);
    while (panels.children.length > figure.panels.length) {
      library.purge(panels.lastElementChild);
      panels.lastElementChild.remove();
    }
    // All of them first: Plotly takes the width that a panel has beside the others.
    figure.panels.forEach((_, place) => panelAt(panels, place));
    for (const [place, panel] of figure.panels.entries()) {
      await drawPanel(panelAt(panels, place), panel, library);
    }
  }

  function placeOf(element, selector, tag) {
    const present = element.querySelector(selector);
    if (present) return present;
    const made = document.createElement(tag);
    made.className = selector.slice(1);
    element.append(made);
    return made;
  }

  function panelAt(panels, place) {
    if (panels.children[place]) return panels.children[place];
    const panel = document.createElement("div");
    panel.className = "panel";
    panel.setAttribute("role", "img");
    panels.append(panel);
    return panel;
  }

  async function drawPanel(place, panel, library) {
    place.setAttribute("aria-label", panel.label);
    const colours = theme();
    await library.react(place, panel.data.map((trace) => painted(trace, colours)),
      layoutOf(panel.layout, colours), CONFIG);
  }

  function painted(trace, colours) {
    const number = trace.meta.colour;
    const colour = number === null ? colours.pale : colours.series[number % colours.series.length];
    const paint = { marker: { ...trace.marker, color: colour }, line: { ...trace.line, color: colour } };
    return { ...trace, ...paint };
  }

  function layoutOf(layout, colours) {
    const axis = { gridcolor: colours.line, zerolinecolor: colours.line, linecolor: colours.line };
    return {
      height: HEIGHT,
      margin: { l: 50, r: 12, t: 10, b: 40 },
      hovermode: "closest",
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      ...layout,
      autosize: true,
      dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: FACE, size: 12, color: colours.text },
      hoverlabel: { bgcolor: colours.ground, bordercolor: colours.dim, font: { color: colours.text } },
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  }

  function note(element, text) {
    const panels = placeOf(element, ".panels", "div");
    for (const panel of panels.querySelectorAll(".panel")) {
      if (window.Plotly) window.Plotly.purge(panel);
    }
    const line = document.createElement("p");
    line.className = "dim";
    line.textContent = text;
    panels.classList.remove("many");
    panels.replaceChildren(line);
  }

  async function drawAllAgain() {
    for (const [element, state] of figures) {
      if (state.shown && state.shown.panels) await draw(element, state.shown, window.Plotly);
    }
  }

  document.addEventListener("changed", ({ detail: { before, now } }) => {
    for (const [element, state] of figures) {
      const mark = element.dataset.follows === "trials" ? "trials" : "reports";
      if (before[mark] === now[mark] && !state.failed) continue;
      state.stale = true;
      wish(element);
    }
  });
  document.addEventListener("part-shown", (event) => find(event.target));
  dark.addEventListener("change", drawAllAgain);
  addEventListener("beforeprint", () => {
    isPrinting = true;
    drawAllAgain();
  });
  addEventListener("afterprint", () => {
    isPrinting = false;
    drawAllAgain();
  });
  find(document);
})();
