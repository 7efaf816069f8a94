/* Start, and the state: what is chosen, what follows from it, and its form in the address. */
(function () {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const PLAY = 1200; // milliseconds a year

  function fail(text) {
    byId("status").textContent = text;
    byId("status").hidden = false;
    byId("status").classList.add("wrong");
  }

  window.addEventListener("error", (event) => {
    if (event.message) fail(`The web map stopped: ${event.message}. The report and the maps beside it are not affected.`);
  });

  const data = window.LANDTIDE_LAYERS;
  if (!data || !data.scenes || !data.scenes.length) {
    fail("layers.js is missing or holds no layer: publish the study again, or copy the whole folder to the host.");
    return;
  }

  const { grid, Pictures, MapView, Panel } = window.landtide;
  const state = {
    sceneIndex: 0, year: null, otherId: null, split: null, opacity: 1, show: "classes", least: 0,
    hidden: new Set(), changed: false, wantsImage: true, playing: false, pin: null, view: null,
  };
  let timer = null;

  /** Work out what follows from the choices: scene, years, and the layers that are drawn. */
  function settle() {
    const scene = (state.scene = data.scenes[state.sceneIndex] || data.scenes[0]);
    const find = (kind, year) => scene.layers.find((layer) => layer.kind === kind && layer.year === year) || null;
    state.years = scene.layers.filter((layer) => layer.kind === "label").map((layer) => layer.year).sort();
    if (!state.years.includes(state.year)) state.year = state.years.length ? state.years[state.years.length - 1] : null;
    state.confidenceOf = (layer) => (layer.kind === "label" ? find("confidence", layer.year) : null);
    const oldMap = scene.layers.find((layer) => layer.kind === "old_map") || null;
    state.mainLabel = find("label", state.year) || oldMap;
    if (state.otherId === null) state.otherId = oldMap && oldMap !== state.mainLabel ? oldMap.id : "";
    const other = scene.layers.find((layer) => layer.id === state.otherId && layer !== state.mainLabel) || null;
    const shown = (layer) => (layer && state.show === "confidence" && state.confidenceOf(layer)) || layer;
    state.main = shown(state.mainLabel);
    state.other = shown(other);
    const images = scene.layers.filter((layer) => layer.kind === "image");
    state.image = state.wantsImage ? images.find((layer) => layer.year === state.year) || images[0] || null : null;
  }

  function restore() {
    const held = grid.readHash(window.location.hash);
    const number = (name, low, high, otherwise) => {
      const value = parseFloat(held[name]);
      return Number.isFinite(value) ? grid.clamp(value, low, high) : otherwise;
    };
    const scene = data.scenes.findIndex((item) => item.id === held.area);
    state.sceneIndex = scene < 0 ? 0 : scene;
    state.year = number("year", 0, 9999, null);
    state.otherId = held.with === undefined ? null : held.with === "none" ? "" : held.with;
    state.split = number("split", 0, 1, null);
    state.opacity = number("opacity", 0, 1, 1);
    state.least = number("least", 0, 100, 0);
    state.show = held.show === "confidence" ? "confidence" : "classes";
    state.changed = held.changed === "1";
    state.wantsImage = held.image !== "0";
    state.hidden = new Set((held.hidden || "").split(".").map(Number).filter((label) => label > 0));
    const scale = number("scale", 1e-4, 24, null);
    state.view = scale && { x: number("x", -1e7, 1e7, 0), y: number("y", -1e7, 1e7, 0), scale };
  }

  function remember() {
    const { view } = state;
    const hash = grid.writeHash({
      area: data.scenes.length > 1 ? state.scene.id : null,
      year: state.year,
      with: state.otherId || "none",
      split: state.other ? state.split.toFixed(3) : null,
      opacity: state.opacity === 1 ? null : state.opacity,
      least: state.least || null,
      show: state.show === "confidence" ? "confidence" : null,
      changed: state.changed ? 1 : null,
      image: state.wantsImage ? null : 0,
      hidden: [...state.hidden].sort((a, b) => a - b).join("."),
      x: view && view.x.toFixed(1), y: view && view.y.toFixed(1), scale: view && view.scale.toPrecision(4),
    });
    if (hash !== window.location.hash) window.history.replaceState(null, "", hash);
  }

  let saving = null;
  function later() {
    clearTimeout(saving);
    saving = setTimeout(remember, 250); // browsers limit how often the address may change
  }

  const pictures = new Pictures(data, () => {
    map.redraw();
    panel.update(pictures.readable);
    if (pictures.failures) panel.status(`${pictures.failures} pictures of the map could not be loaded.`);
  });

  function choose(wish) {
    const jump = "scene" in wish && wish.scene !== state.sceneIndex;
    if ("scene" in wish) state.sceneIndex = wish.scene;
    if ("other" in wish) state.otherId = wish.other;
    if ("image" in wish) state.wantsImage = wish.image;
    for (const name of ["year", "opacity", "least", "changed", "show", "hidden", "split", "pin"]) if (name in wish) state[name] = wish[name];
    settle();
    if (jump) { state.pin = null; map.fit(inset()); }
    if ("pin" in wish || jump) query();
    panel.update(pictures.readable);
    map.redraw();
    later();
  }

  function inset() {
    const box = byId("panel").getBoundingClientRect();
    return box.width > 0.7 * window.innerWidth ? { left: 0, bottom: Math.min(box.height, 0.4 * window.innerHeight) } : { left: box.right, bottom: 0 };
  }

  /** The divider starts in the middle of what the panel leaves free. */
  function centre() {
    if (state.split === null) state.split = (inset().left + window.innerWidth) / 2 / window.innerWidth;
  }

  function inside(point) {
    return point && point[0] >= 0 && point[1] >= 0 && point[0] < state.scene.width && point[1] < state.scene.height;
  }

  function places(point) {
    const [x, y] = grid.projected(state.scene, ...point);
    return [grid.formatLonLat(grid.lonlat(state.scene, ...point)), `${x.toFixed(0)} E, ${y.toFixed(0)} N (${state.scene.crs})`];
  }

  /** Fill the pixel's table: every year and the old map, with the confidence where there is one. */
  async function query() {
    const point = state.pin, { scene } = state;
    if (!point) return panel.pixel(null);
    const layers = scene.layers.filter((layer) => layer.kind === "label" || layer.kind === "old_map").sort((a, b) => (a.year || 0) - (b.year || 0));
    const rows = layers.map((layer) => ({ title: layer.kind === "old_map" ? layer.title : String(layer.year) }));
    panel.pixel(places(point), pictures.readable ? rows : []);
    await Promise.all(layers.map(async (layer, at) => {
      const confidence = state.confidenceOf(layer);
      rows[at].label = await pictures.valueAt(scene, layer, ...point);
      rows[at].confidence = confidence && (await pictures.valueAt(scene, confidence, ...point));
    }));
    if (state.pin === point) panel.pixel(places(point), pictures.readable ? rows : []);
  }

  function hover(point) {
    byId("place").textContent = inside(point) ? places(point).join("   ") : "";
    if (!inside(point) || !pictures.readable || !state.mainLabel) return;
    const side = state.other && map.toScreen(point)[0] < state.split * map.canvas.clientWidth ? state.other : state.main;
    const at = point;
    hover.last = at;
    pictures.valueAt(state.scene, side, ...point).then((value) => {
      if (hover.last !== at || value === null) return;
      const item = data.legend.find((known) => known.label === value);
      byId("place").textContent = `${side.kind === "confidence" ? `${value} %` : item ? item.name : ""}   ${places(point).join("   ")}`;
    });
  }

  function scaleBar() {
    const size = grid.metres(state.scene), length = grid.roundLength((110 / state.view.scale) * size);
    byId("scale-bar").style.width = `${(length / size) * state.view.scale}px`;
    byId("scale-text").textContent = grid.formatLength(length);
  }

  function play(on) {
    clearInterval(timer);
    state.playing = on;
    const step = () => choose({ year: state.years[(state.years.indexOf(state.year) + 1) % state.years.length] });
    if (on) timer = setInterval(step, PLAY);
    panel.update(pictures.readable);
  }

  function wireDivider() {
    const divider = byId("divider");
    const follow = (event) => {
      const box = map.canvas.getBoundingClientRect();
      choose({ split: grid.clamp((event.clientX - box.left) / box.width, 0.02, 0.98) });
    };
    divider.addEventListener("pointerdown", (event) => { divider.setPointerCapture(event.pointerId); event.preventDefault(); divider.focus(); });
    divider.addEventListener("pointermove", (event) => { if (divider.hasPointerCapture(event.pointerId)) follow(event); });
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (step) { event.preventDefault(); choose({ split: grid.clamp(state.split + step, 0.02, 0.98) }); }
    });
  }

  restore();
  settle();
  const panel = new Panel(data, state, choose);
  centre();
  const map = new MapView(byId("map"), state, pictures, {
    moved: () => { scaleBar(); later(); },
    hovered: hover,
    picked: (point) => choose({ pin: inside(point) ? [Math.floor(point[0]) + 0.5, Math.floor(point[1]) + 0.5] : null }),
  });
  wireDivider();
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("closer").addEventListener("click", () => map.zoom(1.6));
  byId("farther").addEventListener("click", () => map.zoom(1 / 1.6));
  byId("whole").addEventListener("click", () => map.fit(inset()));
  window.addEventListener("keydown", (event) => { if (event.key === "Escape") choose({ pin: null }); });
  window.addEventListener("hashchange", () => { restore(); settle(); centre(); if (!state.view) map.fit(inset()); panel.update(pictures.readable); map.moved(); });
  panel.status("");
  panel.update(pictures.readable);
  if (state.view) map.moved();
  else map.fit(inset());
  window.landtide.state = state;
  window.landtide.map = map;
  window.landtide.pictures = pictures;
})();
