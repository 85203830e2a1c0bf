"""Tensors give the fragments and graphs of the plain way, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mosaicell
from mosaicell import cut
from mosaicell.frame import HALO
from mosaicell.geometry import Grid
from mosaicell.segment import segment
from mosaicell.segment_tensor import segment_tensor
from test_watershed import landscapes, parameters

EDGES = st.tuples(*[st.integers(1, 9)] * 3)


def assert_equal_on(device: str, landscape: np.ndarray, tile_shape, threshold: float) -> None:
    volume = landscape.shape
    for core in Grid(volume, tile_shape):
        values = np.ascontiguousarray(landscape[core.grown(HALO, volume).slices])
        fragments, graph = segment(values, core=core, volume=volume, threshold=threshold)
        tensor = torch.from_numpy(values).to(device)
        given = np.empty(core.shape, np.uint32)
        found, found_graph = segment_tensor(
            tensor, core=core, volume=volume, threshold=threshold, out=given
        )
        assert found is given
        np.testing.assert_array_equal(found, fragments)
        assert found.dtype == fragments.dtype
        for name, expected in graph.arrays().items():
            array = found_graph.arrays()[name]
            np.testing.assert_array_equal(array, expected, err_msg=name)
            assert array.dtype == expected.dtype, name


@given(landscapes(), EDGES, st.sampled_from([-300.0, -1.0, 0.0, 0.3, 1.0, 3.0]))
def test_tensors_give_the_arrays_of_the_plain_way(landscape, tile_shape, threshold):
    assert_equal_on("cpu", landscape, tile_shape, threshold)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@given(landscapes(), EDGES, st.sampled_from([-300.0, -1.0, 0.0, 0.3, 1.0, 3.0]))
def test_a_gpu_gives_the_arrays_of_the_plain_way(landscape, tile_shape, threshold):
    assert_equal_on("cuda", landscape, tile_shape, threshold)


@given(landscapes(), parameters, EDGES, st.sampled_from([0.0, 0.7]))
def test_where_there_is_a_device_tiles_are_cut_on_it_to_the_same_cells(
    landscape, chosen, tile_shape, sigma
):
    plain = mosaicell.watershed(landscape, **chosen, sigma=sigma)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "find_gpu", lambda: torch.device("cpu"))
        found = mosaicell.watershed(landscape, **chosen, sigma=sigma, tile_shape=tile_shape)
    np.testing.assert_array_equal(found, plain)


def test_a_tile_too_large_for_the_device_is_cut_without_it(monkeypatch):
    def is_full(*_arguments, **_keywords):
        raise torch.cuda.OutOfMemoryError

    landscape = np.random.default_rng(0).integers(0, 9, (5, 6, 7))
    plain = mosaicell.watershed(landscape, threshold=2, persistence=1)
    monkeypatch.setattr(cut, "find_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr("mosaicell.segment_tensor.segment_tensor", is_full)
    found = mosaicell.watershed(landscape, threshold=2, persistence=1)
    np.testing.assert_array_equal(found, plain)


def test_without_a_driver_nobody_asks_torch_for_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(cut, "DRIVERS", (tmp_path / "none",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cut.find_gpu.__wrapped__() is None
    monkeypatch.setattr(cut, "DRIVERS", (tmp_path,))
    assert cut.find_gpu.__wrapped__() == torch.device("cuda")
