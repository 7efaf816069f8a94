/* Geometry of a scene, numbers for people, and the state in the address. No DOM, no drawing. */
(function () {
  "use strict";
  const SIDE = 256; // pixels along the side of a picture
  const LATTICE_STEPS = 8;

  /** Map metres a pixel, averaged over both sides. */
  function metres(scene) {
    const [a, b, , d, e] = scene.transform;
    return Math.sqrt(Math.abs(a * e - b * d));
  }

  /** Level whose pixels are at least as fine as the screen's. `scale` is device pixels a map pixel. */
  function levelFor(scene, scale) {
    const level = scene.levels + Math.ceil(Math.log2(scale) - 0.01);
    return Math.min(scene.levels, Math.max(0, level));
  }

  /** Pictures of a level that a box of map pixels touches and that hold any pixel of the layer. */
  function cover(scene, layer, z, box) {
    const size = SIDE << (scene.levels - z);
    const found = [];
    const right = Math.min(scene.width, box[2]), bottom = Math.min(scene.height, box[3]);
    for (let y = Math.max(0, Math.floor(box[1] / size)); y * size < bottom; y++) {
      for (let x = Math.max(0, Math.floor(box[0] / size)); x * size < right; x++) {
        if (exists(scene, layer, z, x, y)) found.push([x, y]);
      }
    }
    return found;
  }

  function exists(scene, layer, z, x, y) {
    const size = SIDE << (scene.levels - z);
    return layer.boxes.some(([l, t, r, b]) => l < (x + 1) * size && r > x * size && t < (y + 1) * size && b > y * size);
  }

  function projected(scene, column, row) {
    const [a, b, west, d, e, north] = scene.transform;
    return [west + a * column + b * row, north + d * column + e * row];
  }

  /** Longitude and latitude by bilinear interpolation in the lattice of known points. */
  function lonlat(scene, column, row) {
    const u = clamp((column / scene.width) * LATTICE_STEPS, 0, LATTICE_STEPS);
    const v = clamp((row / scene.height) * LATTICE_STEPS, 0, LATTICE_STEPS);
    const i = Math.min(LATTICE_STEPS - 1, Math.floor(u)), j = Math.min(LATTICE_STEPS - 1, Math.floor(v));
    const blend = (grid) =>
      (grid[j][i] * (1 - (u - i)) + grid[j][i + 1] * (u - i)) * (1 - (v - j)) +
      (grid[j + 1][i] * (1 - (u - i)) + grid[j + 1][i + 1] * (u - i)) * (v - j);
    return [blend(scene.lonlat.lon), blend(scene.lonlat.lat)];
  }

  function clamp(value, low, high) {
    return Math.min(high, Math.max(low, value));
  }

  function formatLonLat([lon, lat]) {
    const one = (value, plus, minus) => `${Math.abs(value).toFixed(5)}° ${value < 0 ? minus : plus}`;
    return `${one(lat, "N", "S")}, ${one(lon, "E", "W")}`;
  }

  function formatLength(length) {
    return length >= 1000 ? `${length / 1000} km` : `${length} m`;
  }

  function formatArea(hectares) {
    if (hectares >= 10000) return `${Math.round(hectares / 100).toLocaleString("en")} km²`;
    if (hectares >= 100) return `${Math.round(hectares).toLocaleString("en")} ha`;
    return `${hectares.toFixed(1)} ha`;
  }

  /** Largest of 1, 2, 5 x 10^n that is not above a length. */
  function roundLength(length) {
    const power = 10 ** Math.floor(Math.log10(length));
    return [5, 2, 1].find((step) => step * power <= length) * power;
  }

  function readHash(hash) {
    return Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  }

  function writeHash(values) {
    const kept = Object.entries(values).filter(([, value]) => value !== null && value !== "" && value !== undefined);
    return `#${new URLSearchParams(kept)}`;
  }

  window.landtide = {
    grid: { SIDE, metres, levelFor, cover, exists, projected, lonlat, clamp, formatLonLat, formatLength, formatArea, roundLength, readHash, writeHash },
  };
})();
