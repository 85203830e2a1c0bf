"""Contacts: those that a plain program finds, and the same from both sides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import find_objects

from mosaicell.contacts import find_contacts


def boxes_of(labels):
    found = {i: box for i, box in enumerate(find_objects(labels), 1) if box is not None}
    boxes = [[*(s.start for s in box), *(s.stop for s in box)] for box in found.values()]
    return np.array(list(found), np.int64), np.array(boxes, np.int64).reshape(-1, 6)


def plain_contacts(labels, landscape):
    """Of each pair of labels: faces across z, y and x, and the highest pass."""
    found = {}
    for here in np.ndindex(labels.shape):
        for step in np.ndindex(3, 3, 3):
            step = np.array(step) - 1
            there = tuple(here + step)
            if not all(0 <= a < n for a, n in zip(there, labels.shape, strict=True)):
                continue
            one, other = int(labels[here]), int(labels[there])
            if one and other and one != other:
                faces, saddle = found.get((one, other), (np.zeros(3, int), -np.inf))
                faces = faces + np.abs(step) * (np.abs(step).sum() == 1)
                saddle = max(saddle, min(landscape[here], landscape[there]))
                found[one, other] = faces, saddle
    return {pair: (*map(int, faces), float(saddle)) for pair, (faces, saddle) in found.items()}


@given(st.integers(0, 2**31))
def test_contacts_are_those_of_a_plain_program_in_order(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 8, 3)
    labels = rng.integers(1, rng.integers(2, 200), shape) * (rng.random(shape) < rng.random())
    landscape = rng.integers(0, 9, shape).astype(np.uint16)
    ids, boxes = boxes_of(labels)
    found = find_contacts(labels, landscape, ids=ids, boxes=boxes)
    rows = zip(found.cell, found.neighbour, found.faces, found.saddle, strict=True)
    named = {(int(ids[c]), int(n)): (*map(int, f), float(s)) for c, n, f, s in rows}
    expected = plain_contacts(labels, landscape)
    assert named == expected
    assert list(named) == sorted(expected)


def test_a_cell_that_touches_thousands_finds_them_all():
    labels = np.zeros((3, 60, 60), np.int64)
    labels[0] = np.arange(2, 3602).reshape(60, 60)
    labels[1] = 1
    found = find_contacts(labels, None, ids=np.array([1]), boxes=np.array([[1, 0, 0, 2, 60, 60]]))
    np.testing.assert_array_equal(found.neighbour, np.arange(2, 3602))
    np.testing.assert_array_equal(found.faces, np.tile([1, 0, 0], (3600, 1)))
    assert (found.saddle == -np.inf).all()
