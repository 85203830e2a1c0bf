"""Curves: the table has every look, the picture shows where the best one is."""

import numpy as np
import pytest
from skimage.io import imread

from mosaicell.curves import BEST, Look, best_of, draw_curves, table

LOOKS = [Look(10, 0.9, 0.2), Look(20, 0.5, 0.8), Look(30, 0.4, 0.8)]


def test_the_best_look_is_the_first_of_equals():
    assert best_of(LOOKS) == 1


def test_the_table_has_a_line_for_each_look():
    head, *lines = table(LOOKS).splitlines()
    assert head.split() == ["step", "loss", "F1"]
    assert [line.split() for line in lines] == [
        ["10", "0.9000", "0.200"],
        ["20", "0.5000", "0.800"],
        ["30", "0.4000", "0.800"],
    ]


def test_a_look_before_the_first_step_has_no_loss(tmp_path):
    assert table([Look(0, None, 0.9)]).splitlines()[1].split() == ["0", "-", "0.900"]
    draw_curves([Look(0, None, 0.9), *LOOKS], tmp_path / "curves.png")
    y, _ = np.nonzero((imread(tmp_path / "curves.png") == BEST).all(-1))
    assert y.min() > 220  # the best look is that one, of which there is no loss to mark


@pytest.mark.parametrize("looks", [LOOKS, LOOKS[:1], [Look(5, 0.0, 0.0)]])
def test_the_picture_marks_the_best_look_in_both_panels(tmp_path, looks):
    draw_curves(looks, tmp_path / "curves.png")
    picture = imread(tmp_path / "curves.png")
    y, x = np.nonzero((picture == BEST).all(-1))
    upper = y < picture.shape[0] / 2
    assert upper.any()
    assert not upper.all()
    assert abs(x[upper].max() - x[~upper].max()) <= 1
