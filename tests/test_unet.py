"""The network's promise: a voxel depends on its receptive field and on nothing else."""

import pytest
import torch

from mosaicell.unet import NORMALISATION, UNet, receptive_radius

CHANNELS = (3, 4, 5)  # the receptive field does not depend on them
EDGE = 72  # 24 voxels of core


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def net(request) -> UNet:
    """A network with random weights and with normalisation constants unlike their defaults."""
    torch.manual_seed(0)
    net = UNet(channels=CHANNELS, dimensions=request.param)
    for module in net.modules():
        if isinstance(module, NORMALISATION[net.dimensions]):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.bias, 0, 0.5)
    return net.eval()


def volume(net: UNet, edge: int = EDGE, seed: int = 1) -> torch.Tensor:
    shape = (1, 1, *[edge] * net.dimensions)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def inner(x: torch.Tensor, margin: int) -> torch.Tensor:
    return x[(..., *[slice(margin, -margin)] * (x.ndim - 2))]


def check_nothing_beyond_the_halo_matters(net, edge: int) -> None:
    around = net.stride
    one = volume(net, edge + 2 * around, seed=1)
    other = volume(net, edge + 2 * around, seed=2) * -50
    inner(other, around).copy_(inner(one, around))
    margin = around + net.halo
    assert not torch.equal(net(one), net(other))
    assert torch.equal(inner(net(one), margin), inner(net(other), margin))


@pytest.mark.parametrize(
    ("channels", "stride", "halo"), [((3,), 1, 2), ((3, 4), 2, 10), ((3, 4, 5), 4, 24)]
)
def test_stride_and_halo_follow_from_the_number_of_levels(channels, stride, halo):
    net = UNet(channels=channels)
    assert (net.stride, net.halo) == (stride, halo)
    assert net.halo - net.stride < receptive_radius(len(channels)) <= net.halo


@torch.inference_mode()
def test_what_lies_outside_core_and_halo_never_changes_the_core(net):
    check_nothing_beyond_the_halo_matters(net, EDGE)


def test_the_receptive_radius_is_reached_and_not_exceeded(net):
    # Neither ReLU nor the choice of a maximum shall hide a dependence from the gradient.
    net.pool = {2: torch.nn.AvgPool2d, 3: torch.nn.AvgPool3d}[net.dimensions](2)
    for block in [*net.down, *net.up]:
        for i, layer in enumerate(block):
            if isinstance(layer, torch.nn.ReLU):
                block[i] = torch.nn.Identity()
    reach = 0
    for position in range(net.stride):
        x = volume(net).requires_grad_()
        centre = EDGE // 2 + position
        net.logits(x)[0][(0, 0, *[centre] * net.dimensions)].backward()
        reach = max(reach, int((x.grad[0, 0].nonzero() - centre).abs().max()))
    assert reach == receptive_radius(len(CHANNELS))


@torch.inference_mode()
@pytest.mark.parametrize("shift", [(4, 0, 0), (0, 8, 4), (12, 4, 8)])
def test_windows_on_the_stride_grid_agree_where_their_cores_overlap(net, shift):
    big = volume(net, EDGE + 16)
    whole = inner(net(big), net.halo)
    shift = shift[-net.dimensions :]
    core = inner(net(big[(..., *[slice(a, a + EDGE) for a in shift])]), net.halo)
    n = core.shape[-1]
    expected = whole[(..., *[slice(a, a + n) for a in shift])]
    torch.testing.assert_close(core, expected, rtol=0, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("core", [(8, 8, 8), (8, 16, 24), (8, 16)])
@pytest.mark.parametrize("channels", [(3,), (3, 4), (3, 4, 5), (2, 2, 2, 2)])
def test_the_core_alone_is_what_the_whole_window_gives(channels, core):
    torch.manual_seed(0)
    net = UNet(channels=channels, dimensions=len(core)).eval()
    x = torch.rand(2, 1, *[n + 2 * net.halo for n in core])
    found = net.core(x)
    assert found.shape == (2, 1, *core)
    torch.testing.assert_close(found, inner(net(x), net.halo), rtol=0, atol=1e-6)


@torch.inference_mode()
def test_the_output_is_one_number_from_0_to_1_per_voxel(net):
    out = net(volume(net, 16))
    assert out.shape == (1, 1, *[16] * net.dimensions)
    assert 0 <= out.min() < out.max() <= 1
