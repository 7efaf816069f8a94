/* The pictures of the pyramid: loading, keeping, reading their values, and repainting them. */
(function () {
  "use strict";
  const { grid } = window.landtide;
  const SIDE = grid.SIDE;
  const KEPT = 800; // pictures; about 200 MB of decoded pixels at the most
  const FAINT = 38; // alpha of what a filter sets back

  /** Values of a palette by colour: a browser lends colours, not indices, and every colour is used once. */
  function lookupOf(colors) {
    return new Map([...colors].map(([value, color]) => [parseInt(color.slice(1), 16), value]));
  }

  class Pictures {
    constructor(data, changed) {
      this.version = data.version;
      this.changed = changed;
      this.entries = new Map();
      this.failures = 0;
      // Pages opened as files may show pictures but not read their pixels.
      this.readable = window.location.protocol !== "file:";
      const classes = data.legend.map((item) => [item.label, item.color]);
      const shares = data.confidence.map((color, value) => [value, color]);
      this.lookups = { label: lookupOf(classes), old_map: lookupOf(classes), confidence: lookupOf(shares) };
      this.colors = new Map(classes);
      this.scratch = document.createElement("canvas");
      this.scratch.width = this.scratch.height = SIDE;
      this.reader = this.scratch.getContext("2d", { willReadFrequently: true });
    }

    /** Entry of a picture; loading starts at the first call, and `changed` is called when it has come. */
    get(scene, layer, z, x, y) {
      const key = `${scene.id}/${layer.id}/${z}/${x}/${y}.${layer.suffix}`;
      let entry = this.entries.get(key);
      if (entry) {
        this.entries.delete(key); // moved to the end: the first is the longest unused
      } else {
        entry = { image: new Image(), ready: false, failed: false, values: null, painted: null, paintedFor: "" };
        entry.done = new Promise((resolve) => {
          entry.image.onload = () => { entry.ready = true; resolve(entry); this.changed(); };
          entry.image.onerror = () => { entry.failed = true; this.failures += 1; resolve(entry); this.changed(); };
        });
        entry.image.decoding = "async";
        entry.image.src = `tiles/${key}?v=${this.version}`;
        if (this.entries.size >= KEPT) this.entries.delete(this.entries.keys().next().value);
      }
      this.entries.set(key, entry);
      return entry;
    }

    /** Values of a loaded picture, SIDE x SIDE bytes; null where the browser does not lend its pixels. */
    values(entry, kind) {
      if (entry.values || !entry.ready || !this.readable) return entry.values;
      let pixels;
      try {
        this.reader.clearRect(0, 0, SIDE, SIDE);
        this.reader.drawImage(entry.image, 0, 0);
        pixels = this.reader.getImageData(0, 0, SIDE, SIDE).data;
      } catch {
        this.readable = false;
        this.changed();
        return null;
      }
      const lookup = this.lookups[kind], fill = kind === "confidence" ? 255 : 0;
      const values = new Uint8Array(SIDE * SIDE).fill(fill);
      let strange = 0, last = -1, value = fill;
      for (let i = 0, p = 0; i < values.length; i++, p += 4) {
        if (pixels[p + 3] === 0) continue;
        const color = (pixels[p] << 16) | (pixels[p + 1] << 8) | pixels[p + 2];
        if (color !== last) {
          value = lookup.get(color);
          last = color;
        }
        if (value === undefined) strange += 1;
        else values[i] = value;
      }
      if (strange > values.length / 100) { // a browser that blurs pixels against fingerprinting
        this.readable = false;
        this.changed();
        return null;
      }
      entry.values = values;
      return values;
    }

    /**
     * The picture of a label layer with hidden classes left out, and set back what is unsure or unchanged.
     * filter: {hidden: Set, least: per cent, confidence: entry | null, other: entry | null, otherKind, key: text that names all of it}
     */
    paint(entry, kind, filter) {
      const values = this.values(entry, kind);
      if (!values) return entry.image;
      const sure = filter.confidence && this.values(filter.confidence, "confidence");
      const other = filter.other && this.values(filter.other, filter.otherKind);
      const key = `${filter.key}|${Boolean(sure)}|${Boolean(other)}`;
      if (entry.paintedFor === key) return entry.painted;
      const image = new ImageData(SIDE, SIDE);
      const words = new Uint32Array(image.data.buffer);
      const full = this.table(filter.hidden, 255), faint = this.table(filter.hidden, FAINT);
      for (let i = 0; i < words.length; i++) {
        const unsure = sure && sure[i] < filter.least;
        const same = other && other[i] === values[i];
        words[i] = (unsure || same ? faint : full)[values[i]];
      }
      entry.painted = entry.painted || Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
      entry.painted.getContext("2d").putImageData(image, 0, 0);
      entry.paintedFor = key;
      return entry.painted;
    }

    /** Colour of every label as a little-endian RGBA word; 0 = transparent. */
    table(hidden, alpha) {
      const words = new Uint32Array(256);
      for (const [label, color] of this.colors) {
        if (hidden.has(label)) continue;
        const rgb = parseInt(color.slice(1), 16);
        words[label] = ((alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
      }
      return words;
    }

    /** Value of one map pixel at full resolution, once its picture has come; null = no data or not readable. */
    async valueAt(scene, layer, column, row) {
      const x = Math.floor(column / SIDE), y = Math.floor(row / SIDE);
      if (!grid.exists(scene, layer, scene.levels, x, y)) return null;
      const entry = await this.get(scene, layer, scene.levels, x, y).done;
      const values = this.values(entry, layer.kind);
      const value = values ? values[(Math.floor(row) - y * SIDE) * SIDE + Math.floor(column) - x * SIDE] : null;
      return value === (layer.kind === "confidence" ? 255 : 0) ? null : value;
    }
  }

  window.landtide.Pictures = Pictures;
})();
