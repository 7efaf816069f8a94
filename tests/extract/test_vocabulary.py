"""The meaning of words, and what mixed codes are made of."""

import numpy as np
import pytest

from landtide.core.legend import builtin_crosswalk, builtin_legend, identity_crosswalk, parse_crosswalk
from landtide.extract.mixtures import code_columns, speaks_corine
from landtide.extract.vocabulary import effective_cells, soft_em

LEGEND = builtin_legend("landtide10")
CORINE = builtin_crosswalk("corine", LEGEND)


def test_pixels_of_one_cell_are_one_piece_of_evidence():
    word = np.array([0, 0, 0, 0, 1, 1])
    cell = np.array([7, 7, 8, 8, 9, 9])
    assert effective_cells(word, 2, cell, np.ones(6)) == pytest.approx([2, 1])


def test_a_word_takes_the_class_of_its_codes_though_no_place_is_sure():
    histogram = np.array([[60.0, 40], [65, 35], [30, 70], [35, 65]])
    posterior, misfit = soft_em(histogram, np.full(4, 30.0), np.full(4, 100.0), np.eye(2))
    assert posterior.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert (misfit < 0.2).all()


def test_a_rare_class_wins_where_its_code_is_far_more_frequent_than_elsewhere():
    histogram = np.array([[980.0, 5, 15], [970, 15, 15], [400, 20, 580], [985, 5, 10], [60, 900, 40]])
    posterior, _ = soft_em(histogram, np.full(5, 40.0), np.full(5, 100.0), np.eye(3))
    assert posterior.argmax(axis=1).tolist() == [0, 0, 2, 0, 1]


def test_a_class_without_any_code_is_never_chosen():
    members = np.array([[1.0, 0], [0, 0], [0, 1.0]])
    posterior, _ = soft_em(np.array([[5.0, 5], [9, 1]]), np.ones(2), np.ones(2), members)
    assert (posterior[:, 1] == 0).all()


def test_shrub_has_a_way_in_through_transitional_woodland_alone():
    columns = code_columns(CORINE, np.array([0, 211, 311, 324]), 10)
    shrub = LEGEND.label_of("shrub") - 1
    assert columns.members[shrub, columns.of(np.array([324]))[0]] > 0


def test_codes_of_one_class_share_a_column():
    columns = code_columns(CORINE, np.array([0, 211, 231, 321, 512]), 10)
    assert columns.of(np.array([231]))[0] == columns.of(np.array([321]))[0]
    assert len(set(columns.column.tolist())) == 4


def test_two_classes_without_codes_do_not_claim_the_same_mixed_code():
    columns = code_columns(CORINE, np.array([211, 324]), 10)
    claims = columns.members[:, columns.of(np.array([324]))[0]] > 0
    assert claims.sum() == 1


def test_codes_of_other_maps_are_not_taken_for_corine():
    assert speaks_corine(CORINE)
    assert not speaks_corine(identity_crosswalk(LEGEND))
    other = parse_crosswalk("code,target\n10,\n20,shrub\n30,grass\n", "own", LEGEND)
    assert code_columns(other, np.array([10, 20, 30]), 10).members[:, 0].sum() == 0
    own = parse_crosswalk(
        "code,target\n112,urban\n211,crop (not irrigated)\n231,grass\n243,\n311,broadleaf\n312,conifer\n324,\n512,water\n", "own", LEGEND
    )
    assert speaks_corine(own)
