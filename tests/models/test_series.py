"""Gap filling and padding against plain loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landtide.models.series import fill_gaps, pad, padded_blocks


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_gaps_are_filled_as_numpy_interpolates(seed: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, 7, 3)).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    expected = np.zeros_like(x)
    for n in range(5):
        for c in range(3):
            valid = np.flatnonzero(~np.isnan(x[n, :, c]))
            if valid.size:
                expected[n, :, c] = np.interp(np.arange(7), valid, x[n, valid, c])
    np.testing.assert_allclose(fill_gaps(x), expected, atol=1e-5)


def test_blocks_cover_every_row_once_and_are_all_of_one_size() -> None:
    x = np.arange(10)[:, None]
    blocks = [(pad(x[rows], lacking), lacking) for rows, lacking in padded_blocks(len(x), 4)]
    assert [len(block) for block, _ in blocks] == [4, 4, 4]
    assert np.concatenate([block[: 4 - lacking] for block, lacking in blocks])[:, 0].tolist() == list(range(10))
