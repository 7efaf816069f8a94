/* The map: draws the layers of the state into a canvas, and turns gestures into changes of the view. */
(function () {
  "use strict";
  const { grid } = window.landtide;
  const SIDE = grid.SIDE;
  const CLOSEST = 24; // screen pixels a map pixel
  const STEP = 90; // screen pixels that an arrow key moves

  class MapView {
    /** `state` is read, never written, but for state.view; `events` = {moved, hovered(point), picked(point)}. */
    constructor(canvas, state, pictures, events) {
      Object.assign(this, { canvas, state, pictures, events, pointers: new Map(), waiting: false, keyboard: false });
      this.context = canvas.getContext("2d");
      this.sheet = document.createElement("canvas"); // layers are laid opaque here and then drawn once with their opacity
      new ResizeObserver(() => this.resize()).observe(canvas);
      this.listen();
      this.resize();
    }

    get ratio() { return window.devicePixelRatio || 1; }

    resize() {
      const first = !this.canvas.clientWidth;
      for (const target of [this.canvas, this.sheet]) {
        target.width = Math.max(1, Math.round(this.canvas.clientWidth * this.ratio));
        target.height = Math.max(1, Math.round(this.canvas.clientHeight * this.ratio));
      }
      if (!first) this.draw();
    }

    redraw() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => { this.waiting = false; this.draw(); });
    }

    /** The view that shows the whole scene beside the panel. `inset` = pixels hidden on the left and at the bottom. */
    fit(inset) {
      const { scene } = this.state;
      const width = Math.max(80, this.canvas.clientWidth - inset.left), height = Math.max(80, this.canvas.clientHeight - inset.bottom);
      const scale = Math.min(CLOSEST, 0.94 * Math.min(width / scene.width, height / scene.height));
      this.state.view = {
        x: scene.width / 2 - inset.left / 2 / scale,
        y: scene.height / 2 + inset.bottom / 2 / scale,
        scale,
      };
      this.moved();
    }

    moved() {
      const { view, scene } = this.state;
      const least = 0.3 * Math.min(this.canvas.clientWidth / scene.width, this.canvas.clientHeight / scene.height);
      view.scale = grid.clamp(view.scale, Math.min(least, 1), CLOSEST);
      view.x = grid.clamp(view.x, -0.25 * scene.width, 1.25 * scene.width);
      view.y = grid.clamp(view.y, -0.25 * scene.height, 1.25 * scene.height);
      this.events.moved();
      this.redraw();
    }

    zoom(factor, at) {
      const { view } = this.state;
      const place = at || [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
      const before = this.toMap(place);
      view.scale = grid.clamp(view.scale * factor, 1e-4, CLOSEST);
      const after = this.toMap(place);
      view.x += before[0] - after[0];
      view.y += before[1] - after[1];
      this.moved();
    }

    pan(right, down) {
      this.state.view.x -= right / this.state.view.scale;
      this.state.view.y -= down / this.state.view.scale;
      this.moved();
    }

    /** Column and row under a place on the screen. */
    toMap([left, top]) {
      const { view } = this.state;
      return [view.x + (left - this.canvas.clientWidth / 2) / view.scale, view.y + (top - this.canvas.clientHeight / 2) / view.scale];
    }

    toScreen([column, row]) {
      const { view } = this.state;
      return [(column - view.x) * view.scale + this.canvas.clientWidth / 2, (row - view.y) * view.scale + this.canvas.clientHeight / 2];
    }

    draw() {
      const { state, context, canvas } = this;
      if (!state.view) return;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      this.outline();
      if (state.image) this.lay(context, state.image, null);
      const sheet = this.sheet.getContext("2d");
      sheet.clearRect(0, 0, canvas.width, canvas.height);
      const split = state.other ? Math.round(state.split * canvas.width) : 0;
      this.half(sheet, state.main, state.other, split, canvas.width - split);
      if (state.other) this.half(sheet, state.other, state.main, 0, split);
      context.globalAlpha = state.opacity;
      context.drawImage(this.sheet, 0, 0);
      context.globalAlpha = 1;
      if (state.pin) this.mark(state.pin);
      if (this.keyboard) this.mark([state.view.x, state.view.y], true);
    }

    half(sheet, layer, against, left, width) {
      if (!layer || width <= 0) return;
      sheet.save();
      sheet.beginPath();
      sheet.rect(left, 0, width, this.canvas.height);
      sheet.clip();
      this.lay(sheet, layer, against);
      sheet.restore();
    }

    /** Draw one layer: for every picture in sight itself, or the best coarser one until it has come. */
    lay(context, layer, against) {
      const { scene, view } = this.state;
      const scale = view.scale * this.ratio;
      const z = grid.levelFor(scene, scale);
      const [left, top] = this.toMap([0, 0]), [right, bottom] = this.toMap([this.canvas.clientWidth, this.canvas.clientHeight]);
      context.imageSmoothingEnabled = layer.kind === "image" && scale < 2;
      for (const [x, y] of grid.cover(scene, layer, z, [left, top, right, bottom])) {
        for (let up = 0; up <= z; up++) {
          const surface = this.surface(layer, against, z - up, x >> up, y >> up);
          if (!surface) continue;
          const size = SIDE << (scene.levels - z), part = SIDE >> up;
          const place = this.box(x * size, y * size, size);
          context.drawImage(surface, (x - ((x >> up) << up)) * part, (y - ((y >> up) << up)) * part, part, part, ...place);
          break;
        }
      }
    }

    /** Place of a square of map pixels on the canvas, on whole device pixels so that neighbours leave no seam. */
    box(column, row, size) {
      const { view } = this.state, scale = view.scale * this.ratio;
      const at = (value, centre, side) => Math.round((value - centre) * scale + side / 2);
      const left = at(column, view.x, this.canvas.width), top = at(row, view.y, this.canvas.height);
      return [left, top, at(column + size, view.x, this.canvas.width) - left, at(row + size, view.y, this.canvas.height) - top];
    }

    surface(layer, against, z, x, y) {
      const { state, pictures } = this;
      const entry = pictures.get(state.scene, layer, z, x, y);
      if (!entry.ready) return null;
      const painted = layer.kind === "label" || layer.kind === "old_map";
      const sure = state.least > 0 ? state.confidenceOf(layer) : null;
      const other = state.changed && against && against.kind !== "confidence" ? against : null;
      if (!painted || !pictures.readable || !(state.hidden.size || sure || other)) return entry.image;
      return pictures.paint(entry, layer.kind, {
        hidden: state.hidden,
        least: state.least,
        confidence: sure && pictures.get(state.scene, sure, z, x, y),
        other: other && grid.exists(state.scene, other, z, x, y) ? pictures.get(state.scene, other, z, x, y) : null,
        otherKind: other && other.kind,
        key: `${[...state.hidden].sort()}|${state.least}|${other && other.id}`,
      });
    }

    /** A thin frame around the scene, so that an area without data is still a place. */
    outline() {
      const { scene, view } = this.state, scale = view.scale * this.ratio;
      this.context.strokeStyle = getComputedStyle(this.canvas).getPropertyValue("--frame");
      this.context.strokeRect(
        this.canvas.width / 2 - view.x * scale - 1, this.canvas.height / 2 - view.y * scale - 1,
        scene.width * scale + 2, scene.height * scale + 2,
      );
    }

    mark([column, row], cross) {
      const { view } = this.state, scale = view.scale * this.ratio;
      const left = (column - view.x) * scale + this.canvas.width / 2, top = (row - view.y) * scale + this.canvas.height / 2;
      const arm = 9 * this.ratio;
      for (const [color, width] of [["#000b", 4], ["#fff", 2]]) {
        this.context.strokeStyle = color;
        this.context.lineWidth = width * this.ratio;
        this.context.beginPath();
        if (cross) {
          this.context.moveTo(left - arm, top); this.context.lineTo(left + arm, top);
          this.context.moveTo(left, top - arm); this.context.lineTo(left, top + arm);
        } else this.context.arc(left, top, arm * 0.8, 0, 7);
        this.context.stroke();
      }
      this.context.lineWidth = 1;
    }

    listen() {
      const { canvas, pointers } = this;
      const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, place(event));
        this.keyboard = false;
        this.travel = pointers.size > 1 ? Infinity : 0;
      });
      canvas.addEventListener("pointermove", (event) => {
        const now = place(event), before = pointers.get(event.pointerId);
        if (!before) { if (event.pointerType === "mouse") this.events.hovered(this.toMap(now)); return; }
        const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const share = 1 / (1 + others.length);
        if (others.length) {
          const span = (at) => Math.hypot(at[0] - others[0][0], at[1] - others[0][1]);
          this.zoom(span(now) / Math.max(1, span(before)), [(now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2]);
        }
        this.travel += Math.hypot(now[0] - before[0], now[1] - before[1]);
        if (this.travel > 4) this.pan((now[0] - before[0]) * share, (now[1] - before[1]) * share);
        pointers.set(event.pointerId, now);
      });
      const release = (event) => {
        if (pointers.delete(event.pointerId) && event.type === "pointerup" && this.travel <= 4) this.events.picked(this.toMap(place(event)));
      };
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", release);
      canvas.addEventListener("pointerleave", () => this.events.hovered(null));
      canvas.addEventListener("dblclick", (event) => this.zoom(2, place(event)));
      canvas.addEventListener("wheel", (event) => {
        event.preventDefault();
        const lines = event.deltaMode === 1 ? 24 : 1;
        this.zoom(Math.exp(-grid.clamp(event.deltaY * lines, -300, 300) * 0.0018), place(event));
      }, { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event));
      canvas.addEventListener("blur", () => { this.keyboard = false; this.redraw(); });
    }

    key(event) {
      const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
      const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, _: 1 / 1.5 };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (!moves[event.key] && !zooms[event.key] && event.key !== "Enter") return;
      event.preventDefault();
      this.keyboard = true;
      if (moves[event.key]) this.pan(...moves[event.key]);
      else if (zooms[event.key]) this.zoom(zooms[event.key]);
      else this.events.picked([this.state.view.x, this.state.view.y]);
    }
  }

  window.landtide.MapView = MapView;
})();
