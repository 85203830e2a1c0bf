"""Networks of all tasks: one landscape, whose core depends on core and halo alone."""

import pytest
import torch

from mosaicell.model import TOP_MODELS
from mosaicell.networks import NETWORKS, DistanceThreeClass, giving
from mosaicell.unet import NORMALISATION
from test_unet import check_nothing_beyond_the_halo_matters, inner, volume

EDGE = 56  # voxels


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(task, dimensions):
    """A network with random weights whose output varies."""
    torch.manual_seed(0)
    top = {"top_channels": (4, 6)} if task == "distance_three_class" else {}
    net = NETWORKS[task](channels=(4, 6), dimensions=dimensions, **top)
    last = net.classes if top else net
    for module in net.modules():
        if isinstance(module, NORMALISATION[dimensions]):
            module.momentum = 1.0  # its constants become those of the example
    with torch.no_grad():
        net(volume(net, 32))
        if task != "distance":
            last.heads[0].bias[1] += 2  # so that some voxels are cells
    return net.eval()


@pytest.fixture(params=[(task, n) for task in NETWORKS for n in (2, 3)], ids=str)
def net(request):
    return random_network(*request.param)


@torch.inference_mode()
def test_the_core_is_what_the_whole_window_gives(net):
    x = volume(net, EDGE)
    found = net.core(x)
    assert found.shape == (1, 1, *[EDGE - 2 * net.halo] * net.dimensions)
    assert 0 <= found.min() < found.max() <= 1
    torch.testing.assert_close(found, inner(net(x), net.halo), rtol=0, atol=2e-5)


@torch.inference_mode()
def test_what_lies_outside_core_and_halo_never_changes_the_core(net):
    check_nothing_beyond_the_halo_matters(net, EDGE)


@torch.inference_mode()
def test_windows_on_the_stride_grid_agree_where_their_cores_overlap(net):
    x = volume(net, EDGE + 8)
    parts = [net.core(x[(..., *[slice(a, a + EDGE)] * net.dimensions)]) for a in (0, 8)]
    one = parts[0][(..., *[slice(8, None)] * net.dimensions)]
    two = parts[1][(..., *[slice(None, -8)] * net.dimensions)]
    torch.testing.assert_close(one, two, rtol=0, atol=2e-5)


def test_a_network_says_what_it_learns_and_is_made_again_by_its_architecture(net):
    x = volume(net, 16)
    said = net.by_target(x)
    assert tuple(said) == net.targets
    for target, levels in said.items():
        n_channels = {"distance": 1, "classes": 3}[target]
        assert [of_level.shape[1] for of_level in levels] == [n_channels] * 2
    again = NETWORKS[net.task](**net.architecture)
    again.load_state_dict(net.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(x), net(x))


@torch.inference_mode()
def test_the_landscape_of_each_top_model_is_what_it_says(net):
    x = volume(net, 16)
    for top_model in TOP_MODELS[net.task]:
        part = giving(net, top_model)
        logits = list(part.by_target(x).values())[-1][0]
        if top_model == "watershed":
            expected = torch.sigmoid(logits)
        else:
            p = torch.softmax(logits, 1)
            expected = (p[:, 1:2] - p[:, 2:3]).clamp(min=0)
        torch.testing.assert_close(part(x), expected, rtol=0, atol=1e-6)


def test_the_watershed_of_a_chain_needs_its_first_network_alone():
    net = DistanceThreeClass(channels=(2, 3), top_channels=(1, 2), dimensions=2)
    assert giving(net, "watershed") is net.distance
    assert giving(net, "three_class") is net
    assert net.halo == net.distance.halo + net.classes.halo
