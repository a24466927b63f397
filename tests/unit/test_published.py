import hashlib
from dataclasses import replace

import pytest

from alexnet_impl.data.download import RemoteFile
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.errors import UnknownNameError, WeightsError
from alexnet_impl.network.variants import get_variant
from alexnet_impl.weights.published_files import (
    PUBLISHED,
    check_copy,
    fetch_published,
    find_published,
    is_published_name,
    published_of,
)

pytestmark = pytest.mark.fast

ALEXNET = "alexnet-owt-7be5be79.pth"


def test_the_published_checkpoint_of_alexnet():
    """torchvision.models.AlexNet_Weights.IMAGENET1K_V1: its address, its transforms."""
    found = find_published("torchvision:IMAGENET1K_V1", "torchvision", 224)
    assert found.remote == RemoteFile(
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", sha256="7be5be79"
    )
    assert (found.input_scaling, found.resize_to, found.input_size) == ("imagenet", 256, 224)


def test_keras_keeps_a_file_for_each_input_size_of_mobilenetv2():
    found = find_published("keras:imagenet", "mobilenetv2", 128)
    assert found.file_name == "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5"
    assert find_published("keras:imagenet", "mobilenetv2", 100).input_size == 224


def test_every_entry_is_of_a_variant_and_says_what_it_reads():
    for entry in PUBLISHED:
        get_variant(entry.variant)
        assert not INPUT_SCALINGS[entry.input_scaling].mistaken


@pytest.mark.slow
@pytest.mark.torch
def test_torchvision_says_the_same():
    import torchvision

    sets = {
        "torchvision": torchvision.models.AlexNet_Weights,
        "vgg16": torchvision.models.VGG16_Weights,
        "resnet50": torchvision.models.ResNet50_Weights,
        "mobilenetv2": torchvision.models.MobileNet_V2_Weights,
    }
    for entry in PUBLISHED:
        if entry.framework == "torch":
            theirs = sets[entry.variant][entry.name.removeprefix("torchvision:")]
            transforms = theirs.transforms()
            assert entry.remote.url == theirs.url
            assert [entry.resize_to] == transforms.resize_size
            assert [entry.input_size] == transforms.crop_size
            scaling = INPUT_SCALINGS[entry.input_scaling]
            assert (list(scaling.mean), list(scaling.std)) == (transforms.mean, transforms.std)


@pytest.mark.parametrize(
    ("name", "variant", "hint"),
    [
        ("torchvision:IMAGENET1K_V3", "torchvision", "Did you mean 'torchvision:IMAGENET1K_V1'"),
        ("torchvision:V1", "resnet50", r"Known: torchvision:IMAGENET1K_V1, .*, keras:imagenet\."),
        ("keras:V1", "cifar", "none that are published"),
    ],
)
def test_a_wrong_name_offers_what_there_is(name, variant, hint):
    with pytest.raises(UnknownNameError, match=hint):
        find_published(name, variant, 224)


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        (
            "keras:imagenet",
            "torchvision",
            r"vgg16, .*, not to torchvision\. Weights of torchvision: torchvision:IMAGENET1K_V1\.",
        ),
        (
            "torchvision:IMAGENET1K_V2",
            "cifar",
            "resnet50, mobilenetv2, not to cifar. Weights of cifar: none that are published.",
        ),
    ],
    ids=["another library", "none"],
)
def test_a_name_of_another_network_says_whose_it_is(name, variant, message):
    with pytest.raises(WeightsError, match=f"{name}: belongs to {message}$"):
        find_published(name, variant, 224)


def test_names_and_files_are_told_apart():
    assert is_published_name("torchvision:X")
    assert is_published_name("keras:imagenet")
    assert not is_published_name("alexnet.pth")
    assert not is_published_name("torchvision")


def test_files_lie_where_the_frameworks_keep_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    torch, keras = PUBLISHED[0], PUBLISHED[-1]
    assert torch.path == tmp_path / "torch" / "hub" / "checkpoints" / ALEXNET
    assert keras.path.parent == tmp_path / "keras" / "models"


@pytest.mark.torch
def test_pytorch_keeps_its_files_there(monkeypatch, tmp_path):
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert str(PUBLISHED[0].path.parent) == f"{torch.hub.get_dir()}/checkpoints"


def test_a_copy_whose_checksum_is_wrong_is_refused(tmp_path):
    path = tmp_path / ALEXNET
    path.write_bytes(b"not it")
    with pytest.raises(WeightsError, match="expected 7be5be79"):
        check_copy(published_of(path), path)


def test_a_checksum_is_computed_once_for_a_file_that_stays(monkeypatch, tmp_path):
    read = []
    monkeypatch.setattr(RemoteFile, "checksum_mismatch", lambda _, path: read.append(path) or "")
    path = tmp_path / ALEXNET
    path.write_bytes(b"not it")
    for _ in range(3):
        check_copy(published_of(path), path)
    assert read == [path]
    path.write_bytes(b"another one")
    check_copy(published_of(path), path)
    assert read == [path, path]


def test_what_is_kept_is_checked_and_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    content = b"weights"
    remote = RemoteFile(url="http://127.0.0.1:1/a.pth", sha256=hashlib.sha256(content).hexdigest())
    entry = replace(PUBLISHED[0], remote=remote)
    entry.path.parent.mkdir(parents=True)
    entry.path.write_bytes(content)
    assert fetch_published(entry) == entry.path
    entry.path.write_bytes(content + b"!")
    with pytest.raises(WeightsError, match="truncated, damaged"):
        fetch_published(entry)


def test_what_cannot_be_downloaded_may_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    nowhere = replace(PUBLISHED[0], remote=RemoteFile(url="http://127.0.0.1:1/alexnet.pth"))
    with pytest.raises(WeightsError, match="--weights FILE"):
        fetch_published(nowhere)
