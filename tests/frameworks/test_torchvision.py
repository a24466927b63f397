"""The `torchvision` variant and torchvision's own AlexNet are one network."""

import pytest

from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = [pytest.mark.slow, pytest.mark.torch]


def test_torchvision_names_are_torchvisions_own_and_its_state_dict_loads(tmp_path):
    import torch
    import torchvision

    from alexnet_impl.frameworks.torch import build_model, read_checkpoint, set_weights

    theirs = torchvision.models.alexnet().eval()
    path = tmp_path / "alexnet.pth"
    torch.save(theirs.state_dict(), path)
    spec = build_spec("torchvision", num_classes=1000)
    model = build_model(spec).eval()
    set_weights(model, spec, read_checkpoint(path, spec))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        near = 1e-5 * float(theirs(images).abs().max())
        torch.testing.assert_close(model(images), theirs(images), rtol=0, atol=near)
        # Bit for bit where dense products are not oneDNN's.
        images, model, theirs = images.double(), model.double(), theirs.double()
        torch.testing.assert_close(model(images), theirs(images), rtol=0, atol=0)


def test_torchvision_checkpoint_that_we_write_loads_into_torchvision(tmp_path):
    import torch
    import torchvision

    from alexnet_impl.frameworks.torch import write_checkpoint

    spec = build_spec("torchvision")
    path = tmp_path / "alexnet.pt"
    write_checkpoint(path, spec, initial_weights(spec, Recipe()))
    model = torchvision.models.alexnet(num_classes=10)
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)


@pytest.mark.parametrize("variant", ["cifar", "torchvision"])
def test_the_tutorials_loop_has_layers_of_pytorch_alone(variant):
    """What ours is compared with must not profit from our own dense products."""
    from alexnet_impl.frameworks.torch.calibration import _tutorial_model

    model = _tutorial_model(build_spec(variant, width=1 / 16))
    homes = {type(module).__module__ for module in model.modules() if not list(module.children())}
    assert all(home.startswith("torch.nn.") for home in homes)
