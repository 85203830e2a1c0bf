"""The gallery of synthetic volumes: its numbers tell like from unlike, and its command makes it."""

import re
import sys

import numpy as np

from running import ROOT

sys.path.insert(0, str(ROOT / "tests/benchmarks"))
import synthetic_gallery


def test_like_images_have_like_descriptions():
    image, _ = synthetic_gallery.synthetic(3)
    of_image, of_turned, of_other = map(
        synthetic_gallery.description,
        (image, image[:, ::-1, ::-1], synthetic_gallery.synthetic(4)[0]),
    )
    np.testing.assert_allclose(of_turned, of_image, rtol=1e-4)
    assert np.linalg.norm(of_other - of_image) > 0.5


def test_real_crops_are_read_from_the_demo():
    crops = synthetic_gallery.real_crops()
    assert {name for name, _ in crops} == {"ovule", "brain"}
    for _, crop in crops:
        assert crop.shape == (synthetic_gallery.EDGE,) * 3
        assert crop.std() > 0.05


def test_the_command_makes_the_page_and_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic_gallery, "N_VOLUMES", 31)
    synthetic_gallery.main(tmp_path / "synthetic.md")
    text = (tmp_path / "synthetic.md").read_text(encoding="utf-8")
    for picture in re.findall(r"\((.*\.png)\)", text):
        made, shown = tmp_path / picture, ROOT / "docs" / picture
        assert 10_000 < made.stat().st_size < 500_000
        assert 10_000 < shown.stat().st_size < 500_000
