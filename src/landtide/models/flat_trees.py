"""A fitted forest as flat arrays, walked by many rows at once: scikit-learn's own probabilities, bit for bit, in half its time."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.tree._tree import Tree

LANES = 128
"""Rows that walk a tree together: their loads overlap."""

GROUP = 32
"""Trees that a run of rows walks before the next rows are read: rows are larger than nodes."""

SURE = 8
"""Levels that all lanes walk before anyone looks which of them have arrived; a leaf leads to itself."""

BLOCK = 4096
"""Rows a tree is read for: the trees come from the second cache, not from memory."""

CHILD_BITS = 20
CHILD = np.uint32((1 << CHILD_BITS) - 1)
"""Of a node's 32 bits, those with the place of its left child; the others hold the feature."""


@dataclass(frozen=True)
class FlatTrees:
    """E trees and M nodes of all trees one after another, siblings beside each other, and L different leaves."""

    threshold: np.ndarray
    """(M,) float32: a row goes right where its feature is greater; +inf at leaves."""

    node: np.ndarray
    """(M,) uint32: feature << 20 | place of the left child in its tree; a leaf's own place."""

    root: np.ndarray
    """(E,) int64 place of each tree's first node."""

    leaf: np.ndarray
    """(M,) int32 row of ``share``, for leaves."""

    share: np.ndarray
    """(L, S) float64 share of each class that the forest knows; leaves that are alike, such as those of one class, have one row."""

    def probability(self, features: np.ndarray) -> np.ndarray:
        """Return (N, S) float64 mean shares of features (N, F) float32."""
        total = np.zeros((len(features), self.share.shape[1]))
        rows = np.ascontiguousarray(features)
        for start in range(0, len(rows), BLOCK):
            span = slice(start, start + BLOCK)
            _add(rows[span], self.threshold, self.node, self.root, self.leaf, self.share, total[span])
        total /= len(self.root)
        return total


def flatten(forest: ExtraTreesClassifier) -> FlatTrees | None:
    """Return the trees of a forest breadth first, None where they are too large for the layout (4096 features, a million nodes)."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    if forest.n_features_in_ >= 1 << (32 - CHILD_BITS) or max(tree.node_count for tree in trees) > CHILD:
        return None
    orders = [_breadth_first(tree.children_left, tree.children_right) for tree in trees]
    leaves = [tree.children_left[order] < 0 for tree, order in zip(trees, orders, strict=True)]
    threshold = [np.where(leaf, np.inf, tree.threshold[order]) for tree, order, leaf in zip(trees, orders, leaves, strict=True)]
    node = [_pack(tree, order, leaf) for tree, order, leaf in zip(trees, orders, leaves, strict=True)]
    share = [tree.value[order[leaf], 0] for tree, order, leaf in zip(trees, orders, leaves, strict=True)]
    different, row = np.unique(np.concatenate(share), axis=0, return_inverse=True)
    number = np.zeros(len(np.concatenate(leaves)), np.int32)
    number[np.concatenate(leaves)] = row.reshape(-1)
    root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])]).astype(np.int64)
    return FlatTrees(_round_down(np.concatenate(threshold)), np.concatenate(node), root, number, np.ascontiguousarray(different))


def _breadth_first(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    order = [0]
    for node in order:
        if left[node] >= 0:
            order += [left[node], right[node]]
    return np.array(order)


def _pack(tree: Tree, order: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    child = np.where(leaf, place[order], place[tree.children_left[order]])
    packed: np.ndarray = np.where(leaf, 0, tree.feature[order]).astype(np.uint32) << np.uint32(CHILD_BITS) | child
    return packed


def _round_down(threshold: np.ndarray) -> np.ndarray:
    """Return the greatest float32 that is not above: float32 rows then take the same side as against float64."""
    near = threshold.astype(np.float32)
    lower: np.ndarray = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
    return lower


@njit(cache=True, nogil=True)
def _add(
    rows: np.ndarray, threshold: np.ndarray, node: np.ndarray, root: np.ndarray, leaf: np.ndarray, share: np.ndarray, total: np.ndarray
) -> None:
    """Add every tree's shares to ``total``, in the order of the trees, as scikit-learn does."""
    at, active = np.empty(LANES, np.uint32), np.empty(LANES, np.int32)
    for group in range(0, len(root), GROUP):
        for start in range(0, len(rows), LANES):
            for tree in range(group, min(group + GROUP, len(root))):
                _add_tree(rows, start, threshold[root[tree] :], node[root[tree] :], leaf[root[tree] :], share, total, at, active)


@njit(cache=True, nogil=True, inline="always")
def _add_tree(
    rows: np.ndarray,
    start: int,
    limits: np.ndarray,
    nodes: np.ndarray,
    leaf: np.ndarray,
    share: np.ndarray,
    total: np.ndarray,
    at: np.ndarray,
    active: np.ndarray,
) -> None:
    """Add one tree's shares of the LANES rows from ``start`` on."""
    lanes = min(LANES, len(rows) - start)
    at[:lanes] = 0
    for _ in range(SURE):
        for lane in range(lanes):
            place = at[lane]
            packed = nodes[place]
            at[lane] = (packed & CHILD) + np.uint32(rows[start + lane, packed >> np.uint32(CHILD_BITS)] > limits[place])
    for lane in range(lanes):
        active[lane] = lane
    walking = np.int64(lanes)
    while walking:
        left = np.int64(0)
        for index in range(walking):
            lane = active[index]
            place = at[lane]
            packed = nodes[place]
            to = (packed & CHILD) + np.uint32(rows[start + lane, packed >> np.uint32(CHILD_BITS)] > limits[place])
            at[lane] = to
            active[left] = lane
            left += np.int64(to != place)
        walking = left
    for lane in range(lanes):
        own = leaf[at[lane]]
        for k in range(share.shape[1]):
            total[start + lane, k] += share[own, k]
