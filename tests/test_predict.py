"""Prediction: the same for any shards and threads, and seamless between windows."""

import numpy as np
import pytest
import torch

from mosaicell.geometry import Box, Grid
from mosaicell.predict import ONE, Channel, predict
from mosaicell.resample import model_grid
from mosaicell.unet import NORMALISATION, UNet

SHAPE = (40, 50, 70)


@pytest.fixture(scope="module", params=[2, 3], ids=["2D", "3D"])
def network(request):
    """A small U-Net with random weights whose output varies over its range."""
    torch.manual_seed(0)
    network = UNet(channels=(4, 6, 8), dimensions=request.param)
    example = torch.rand(1, 1, *[32] * request.param)
    for module in network.modules():
        if isinstance(module, NORMALISATION[network.dimensions]):
            module.momentum = 1.0  # its constants become those of the example
    with torch.no_grad():
        network(example)
        network.eval()
        spread = network.logits(example)[0].std()
        network.heads[0].weight.div_(spread)
    return network


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.uint16)


def grid_of(network, *, shard, scale, window):
    return model_grid(
        shard=shard,
        scale=scale,
        window=window,
        stride=network.stride,
        dimensions=network.dimensions,
    )


def landscape_of(image, network, *, shard, scale=(1, 1, 1), window=32, threads=1, order=1):
    channel = Channel(
        read=lambda _, box: image[box.slices],
        shape=image.shape,
        factors=(1, 1, 1),
        limits=(0, 1000),
    )
    grid = grid_of(network, shard=shard, scale=scale, window=window)
    landscape = np.empty(image.shape, np.uint16)
    for box in list(Grid(image.shape, shard))[::order]:
        landscape[box.slices] = predict(
            0,
            box,
            channel=channel,
            grid=grid,
            network=network,
            device=torch.device("cpu"),
            threads=threads,
        )
    return landscape


@pytest.mark.parametrize("scale", [(1, 1, 1), (1.5, 0.5, 0.5)])
def test_the_number_of_threads_does_not_change_a_bit(image, network, scale):
    one = landscape_of(image, network, shard=(32, 32, 64), scale=scale, threads=1)
    many = landscape_of(image, network, shard=(32, 32, 64), scale=scale, threads=4)
    assert np.ptp(one) > 1000
    np.testing.assert_array_equal(one, many)


def test_windows_give_what_the_whole_volume_gives_in_one_piece(image, network):
    in_windows = landscape_of(image, network, shard=(32, 32, 32), window=16)
    pads = [0, 0, 0]
    pads[-network.dimensions :] = [network.halo + 4] * network.dimensions
    at = [np.pad(np.arange(n), pad, mode="reflect") for n, pad in zip(SHAPE, pads, strict=True)]
    at = [np.pad(axis, (0, -len(axis) % 4), mode="edge") for axis in at]
    whole = torch.from_numpy(image[np.ix_(*at)].astype(np.float32) / np.float32(1000))
    with torch.inference_mode():
        if network.dimensions == 2:
            out = network(whole[:, None])[:, 0].numpy()
        else:
            out = network(whole[None, None])[0, 0].numpy()
    inner = out[tuple(slice(pad, pad + n) for n, pad in zip(SHAPE, pads, strict=True))]
    # Convolutions over inputs of other shapes may round the last digit otherwise.
    assert np.abs(in_windows - np.rint(inner * ONE)).max() <= 1


def test_a_plane_is_predicted_alike_in_any_stack_shards_and_windows(image):
    torch.manual_seed(0)
    network = UNet(channels=(4, 6, 8), dimensions=2).eval()
    scale = (7.0, 0.5, 0.5)  # planes are not resampled, whatever the voxel size
    stack = landscape_of(image, network, shard=(32, 32, 64), scale=scale, threads=2)
    flat = landscape_of(image[:, :32], network, shard=(4, 32, 64), scale=scale)
    alone = landscape_of(image[7:8], network, shard=(1, 32, 64), scale=scale)
    assert np.ptp(stack) > 0
    np.testing.assert_array_equal(alone[0], stack[7])
    # Shards in the plane are the model's grid: those of one edge in the plane agree.
    assert flat.shape == (40, 32, 70)
    np.testing.assert_array_equal(
        landscape_of(image, network, shard=(8, 32, 64), scale=scale), stack
    )


def test_a_volume_smaller_than_its_shard_is_predicted(network):
    image = np.random.default_rng(1).integers(0, 1000, (3, 5, 6)).astype(np.uint16)
    landscape = landscape_of(image, network, shard=(4, 8, 8))
    assert landscape.shape == (3, 5, 6)


def test_a_shard_reads_no_farther_than_its_windows_reach(image, network):
    read = []

    def watched(_, box: Box) -> np.ndarray:
        read.append(box)
        return image[box.slices]

    channel = Channel(read=watched, shape=SHAPE, factors=(1, 1, 1), limits=(0, 1000))
    grid = grid_of(network, shard=(8, 16, 16), scale=(1, 1, 1), window=16)
    shard = Box((32, 32, 48), (40, 48, 64))
    predict(0, shard, channel=channel, grid=grid, network=network, device=torch.device("cpu"))
    reach = [network.halo + network.stride + 1] * 3  # interpolation reads one voxel more
    if network.dimensions == 2:
        reach[0] = 0
    assert read
    for box in read:
        ends = zip(box.start, box.stop, shard.start, shard.stop, reach, strict=True)
        for start, stop, first, last, most in ends:
            assert start >= first - most
            assert stop <= last + most
