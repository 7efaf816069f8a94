/* The controls: they show the state and hand every wish to `choose`. All texts are set as text, never as HTML. */
(function () {
  "use strict";
  const { grid } = window.landtide;
  const byId = (id) => document.getElementById(id);

  /** A DOM element; `on...` are listeners, other names are properties or attributes. */
  function element(tag, settings, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(settings || {})) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name in made && typeof made[name] !== "object") made[name] = value;
      else if (name === "style") made.style.cssText = value;
      else made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const swatch = (color) => element("span", { className: "swatch", style: `background:${color}` });

  class Panel {
    constructor(data, state, choose) {
      Object.assign(this, { data, state, choose });
      byId("scene").replaceChildren(...data.scenes.map((scene, index) => element("option", { value: index }, scene.title)));
      byId("scene-row").hidden = data.scenes.length < 2;
      byId("links").replaceChildren(...data.links.map((link) => element("a", { href: link.href }, link.title)));
      const wire = (id, event, read) => byId(id).addEventListener(event, (happened) => choose(read(happened.target)));
      wire("scene", "change", (target) => ({ scene: Number(target.value) }));
      wire("other", "change", (target) => ({ other: target.value }));
      wire("opacity", "input", (target) => ({ opacity: target.value / 100 }));
      wire("least", "input", (target) => ({ least: Number(target.value) }));
      wire("changed", "change", (target) => ({ changed: target.checked }));
      wire("image", "change", (target) => ({ image: target.checked }));
      wire("all", "click", () => ({ hidden: new Set() }));
      wire("none", "click", () => ({ hidden: new Set(data.legend.map((item) => item.label)) }));
      for (const show of ["classes", "confidence"]) wire(`show-${show}`, "click", () => ({ show }));
      byId("fold").addEventListener("click", () => this.fold(!document.body.classList.contains("folded")));
      byId("pixel-close").addEventListener("click", () => choose({ pin: null }));
      this.fold(window.matchMedia("(max-width: 760px)").matches);
    }

    fold(folded) {
      document.body.classList.toggle("folded", folded);
      byId("fold").setAttribute("aria-expanded", String(!folded));
      byId("fold").textContent = folded ? "Show panel" : "Hide";
    }

    /** Bring every control into line with the state. */
    update(readable) {
      const { state } = this;
      const layers = state.scene.layers;
      byId("scene").value = state.sceneIndex;
      this.years();
      const others = layers.filter((layer) => layer !== state.mainLabel && (layer.kind === "label" || layer.kind === "old_map"));
      byId("other").replaceChildren(
        element("option", { value: "" }, "Nothing"),
        ...others.map((layer) => element("option", { value: layer.id }, layer.title)),
      );
      byId("other").value = state.otherId || "";
      byId("compare-row").hidden = !others.length;
      const confident = layers.some((layer) => layer.kind === "confidence");
      byId("confidence-row").hidden = !confident;
      for (const show of ["classes", "confidence"]) byId(`show-${show}`).setAttribute("aria-pressed", String(state.show === show));
      byId("ramp").hidden = state.show !== "confidence";
      byId("ramp-bar").style.background = `linear-gradient(90deg, ${this.data.confidence.filter((_, at) => at % 10 === 0).join(",")})`;
      byId("opacity").value = Math.round(state.opacity * 100);
      byId("opacity-value").textContent = `${Math.round(state.opacity * 100)} %`;
      byId("least").value = state.least;
      byId("least-value").textContent = state.least ? `< ${state.least} %` : "off";
      byId("changed").checked = state.changed;
      byId("image").checked = state.wantsImage;
      byId("image-row").hidden = !layers.some((layer) => layer.kind === "image");
      byId("least-row").hidden = !readable || state.show === "confidence";
      byId("changed-row").hidden = !readable || !state.other || state.show === "confidence";
      byId("legend-buttons").hidden = !readable;
      byId("unreadable").hidden = readable;
      byId("legend-title").textContent = state.mainLabel ? state.mainLabel.title : "Classes";
      byId("legend").replaceChildren(...this.legend(readable));
      byId("downloads").replaceChildren(
        ...state.scene.downloads.map((file) => element("li", {}, element("a", { href: file.href, download: "" }, file.title))),
      );
      byId("downloads-row").hidden = !state.scene.downloads.length;
      for (const [id, layer] of [["left-name", state.other], ["right-name", state.main]]) {
        byId(id).textContent = layer ? layer.title : "";
        byId(id).hidden = !state.other;
      }
      const divider = byId("divider");
      divider.hidden = !state.other;
      document.body.style.setProperty("--split", `${state.split * 100}%`);
      divider.setAttribute("aria-valuenow", Math.round(state.split * 100));
    }

    years() {
      const { state } = this, years = state.years;
      const key = years.join();
      const row = byId("years");
      if (row.dataset.key !== key) {
        row.dataset.key = key;
        const many = years.length > 6;
        row.replaceChildren(
          ...(many
            ? [element("input", { type: "range", min: 0, max: years.length - 1, step: 1, "aria-label": "Year", oninput: (event) => this.choose({ year: years[event.target.value] }) })]
            : years.map((year) => element("button", { type: "button", value: year, onclick: () => this.choose({ year }) }, String(year)))),
        );
        if (many) row.append(element("output", {}));
      }
      for (const child of row.children) {
        if (child.tagName === "BUTTON") child.setAttribute("aria-pressed", String(Number(child.value) === state.year));
        else if (child.tagName === "INPUT") child.value = years.indexOf(state.year);
        else child.textContent = state.year;
      }
      byId("play").hidden = years.length < 2;
      byId("play").textContent = state.playing ? "❚❚" : "▶";
      byId("play").setAttribute("aria-label", state.playing ? "Stop" : "Play the years");
    }

    legend(readable) {
      const { state, data } = this;
      const areas = (state.mainLabel && state.mainLabel.hectares) || {};
      const total = Object.values(areas).reduce((sum, area) => sum + area, 0);
      return data.legend.map((item) => {
        const area = areas[item.label] || 0;
        const toggle = (event) => {
          const hidden = new Set(state.hidden);
          if (event.target.checked) hidden.delete(item.label);
          else hidden.add(item.label);
          this.choose({ hidden });
        };
        const share = total ? (100 * area) / total : 0;
        return element("li", {}, element(
          "label", { className: state.hidden.has(item.label) ? "off" : "" },
          readable ? element("input", { type: "checkbox", checked: !state.hidden.has(item.label), onchange: toggle }) : null,
          swatch(item.color),
          element("span", { className: "name" }, item.name),
          element("span", { className: "area", title: `${share.toFixed(1)} % of the mapped area` }, area ? grid.formatArea(area) : "–"),
          element("span", { className: "bar" }, element("i", { style: `width:${share}%;background:${item.color}` })),
        ));
      });
    }

    /** The table of one pixel: rows = [{title, label, confidence}], place = text lines. */
    pixel(place, rows) {
      byId("pixel").hidden = !place;
      if (!place) return;
      byId("pixel-place").replaceChildren(...place.map((line) => element("span", {}, line)));
      byId("pixel-rows").replaceChildren(...rows.map((row) => {
        const item = this.data.legend.find((known) => known.label === row.label);
        return element(
          "tr", {},
          element("th", { scope: "row" }, row.title),
          element("td", {}, ...(item ? [swatch(item.color), item.name] : [row.label === undefined ? "…" : "no data"])),
          element("td", { className: "number" }, row.confidence === null || row.confidence === undefined ? "" : `${row.confidence} %`),
        );
      }));
    }

    status(text) {
      byId("status").textContent = text;
      byId("status").hidden = !text;
    }
  }

  Object.assign(window.landtide, { Panel, element });
})();
