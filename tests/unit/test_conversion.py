"""Conversion without a framework: names, refusals, and the check of the outputs."""

import os

import numpy as np
import pytest
from support import fake_framework
from support.fake_framework import Killed

from alexnet_impl import convert as conversion
from alexnet_impl.convert import convert, target_kind
from alexnet_impl.errors import FrameworkError, UnknownNameError, WeightsError
from alexnet_impl.files import save_file
from alexnet_impl.network.variants import build_spec
from alexnet_impl.processes.weight_files import Hints
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights, stored_remarks
from alexnet_impl.weights.safetensors_io import write_safetensors

pytestmark = pytest.mark.fast

INFO = WeightsInfo(variant="linear", num_classes=10, input_size=32, width=1.0)


@pytest.fixture(autouse=True)
def framework(monkeypatch):
    """The NumPy framework in the place of every other."""
    return fake_framework.install(monkeypatch)


@pytest.fixture
def source(tmp_path):
    """A weight file of the NumPy framework's network."""
    spec = build_spec("linear", input_size=32)
    path = tmp_path / "in.safetensors"
    save_weights(path, initial_weights(spec, Recipe(seed=3)), INFO)
    return path


def small_weights(variant, **numbers):
    """Weights of a narrow network."""
    return initial_weights(build_spec(variant, width=1 / 64, **numbers), Recipe(seed=3))


def refusal_of(source, target, hints=None, error=WeightsError):
    with pytest.raises(error) as caught:
        convert(source, target, hints or Hints())
    assert not target.is_file() or target == source
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.safetensors", "safetensors"),
        ("a.pt", "torch"),
        ("a.pth", "torch"),
        ("a.keras", "tensorflow"),
        ("a.weights.h5", "tensorflow"),
        ("a.b.pt", "torch"),
    ],
)
def test_target_kind_is_told_by_the_ending(tmp_path, name, kind):
    assert target_kind(tmp_path / name) == kind


@pytest.mark.parametrize("name", ["a.h5", "a.ckpt", "a", ".pt", "a.pt.zip", "a.PT"])
def test_unknown_ending_is_refused(tmp_path, name):
    path = tmp_path / name
    message = f"{path}: must end in one of .safetensors, .pt, .pth, .keras, .weights.h5."
    with pytest.raises(WeightsError) as caught:
        target_kind(path)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["a.onnx", "a", ".pt"])
def test_source_of_an_unknown_ending_is_refused(tmp_path, name):
    path = tmp_path / name
    path.touch()
    refusal = refusal_of(path, tmp_path / "out.safetensors")
    assert refusal.endswith(
        "nor a file that ends in .safetensors, .pt, .pth, .ckpt, .bin, .tar, .keras, .h5."
    )


def test_conversion_keeps_every_bit_and_compares_the_outputs(source, tmp_path):
    target = tmp_path / "out.safetensors"
    done = convert(source, target, Hints())
    before, info = load_weights(source)
    after, found = load_weights(target)
    assert info == found == INFO
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert (done.spec.name, done.num_weights) == ("linear", 2)
    assert (done.max_absolute_difference, done.max_relative_difference) == (0.0, 0.0)


def test_conversion_that_loses_a_bit_shows_in_the_outputs(source, tmp_path, monkeypatch):
    """A wrong writer: one bias moves by 1/2."""

    def wrong(weights, path, metadata):
        save_file(weights | {"fc1.bias": weights["fc1.bias"] + np.float32(0.5)}, path, metadata)

    monkeypatch.setattr(conversion, "save_file", wrong)
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"a good file of before")
    with pytest.raises(WeightsError, match=r"out.safetensors: was not written: its outputs would"):
        convert(source, target, Hints())
    assert target.read_bytes() == b"a good file of before"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_killed_conversion_leaves_no_unproven_target(source, tmp_path, monkeypatch):
    target = tmp_path / "out.safetensors"
    seen = []

    def watched(read):
        def reading(path, what):
            seen.append((read.__name__, target.exists()))
            return read(path, what)

        return reading

    for read in (conversion.read_network, conversion.read_weights):
        monkeypatch.setattr(conversion, read.__name__, watched(read))
    convert(source, target, Hints())
    assert seen == [("read_network", False), ("read_weights", False)]


def test_conversion_writes_one_temporary_file_that_a_killed_one_leaves(
    source, tmp_path, framework, monkeypatch
):
    """In every format: one in another would never be removed."""

    def write(path, *_):
        path.write_bytes(b"written")
        written.append([entry for entry in tmp_path.iterdir() if entry != source])
        raise Killed

    monkeypatch.setattr(framework, "write_checkpoint", write, raising=False)
    monkeypatch.setattr(conversion, "save_file", lambda _, path, __: write(path))
    written = []
    for name in ("out.safetensors", "out.pt", "out.keras"):
        with pytest.raises(Killed):
            convert(source, tmp_path / name, Hints())
        ((temporary,),) = written
        assert temporary.name.endswith(f"-{os.getpid()}-{name}")
        written.clear()


def test_conversion_of_weights_that_are_not_finite_is_refused(source, tmp_path):
    weights, info = load_weights(source)
    weights["fc1.bias"][0] = np.nan
    save_weights(source, weights, info)
    assert "are the weights finite?" in refusal_of(source, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_conversion_says_that_there_is_no_file(tmp_path):
    path = tmp_path / "none.pt"
    message = f"{path}: there is no such file."
    assert refusal_of(path, tmp_path / "out.safetensors") == message


def test_conversion_onto_itself_is_refused(source):
    message = f"{source}: is the source file too; choose another name."
    before = source.read_bytes()
    assert refusal_of(source, source) == message
    assert source.read_bytes() == before


def test_folder_of_a_target_is_made_after_the_checks(source, tmp_path):
    target = tmp_path / "new" / "out.xyz"
    assert "out.xyz: must end in one of" in refusal_of(source, target)
    assert not target.parent.exists()
    convert(source, target.with_suffix(".safetensors"), Hints())
    assert [path.name for path in target.parent.iterdir()] == ["out.safetensors"]
    inside = source / "out.safetensors"
    assert refusal_of(source, inside) == f"{inside}: cannot be written (File exists)."


def test_network_that_fits_several_variants_must_be_named(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, small_weights("cifar"), {})
    assert refusal_of(path, tmp_path / "out.safetensors") == (
        f"{path}: does not state its network, and its weights fit several: cifar, cifar-dropout. "
        "Choose one with --variant; `alexnet variants` shows how they differ."
    )


@pytest.mark.parametrize(
    ("hints", "said"),
    [
        (Hints(num_classes=7), "num_classes=10, not 7"),
        (Hints(variant="cifar"), "variant=linear, not cifar"),
        (Hints(width=0.0), "width=1.0, not 0.0"),
    ],
    ids=["classes", "variant", "width"],
)
def test_hints_against_what_the_file_says_are_refused(source, tmp_path, hints, said):
    refusal = refusal_of(source, tmp_path / "out.safetensors", hints)
    assert refusal == f"{source}: states {said}; leave that flag out."


def test_unknown_variant_in_a_hint_offers_the_nearest(source, tmp_path):
    target = tmp_path / "out.safetensors"
    refusal = refusal_of(source, target, Hints(variant="liner"), UnknownNameError)
    assert refusal.startswith("Unknown variant 'liner'. Did you mean")


def test_damaged_file_is_refused(source, tmp_path):
    source.write_bytes(source.read_bytes()[:-4])
    refusal = refusal_of(source, tmp_path / "out.safetensors")
    assert refusal.startswith(f"{source}: cannot be read as safetensors")


def test_safetensors_file_of_another_program_is_read(source, tmp_path):
    weights, _ = load_weights(source)
    write_safetensors(source, {f"net.{name}": weights[name] for name in weights}, {"format": "pt"})
    done = convert(source, tmp_path / "out.safetensors", Hints(variant="linear", input_size=32))
    assert done.remarks == ("the prefix 'net.' was stripped",)
    assert done.pairing == ()
    found, info = load_weights(tmp_path / "out.safetensors")
    assert info == INFO
    assert stored_remarks(tmp_path / "out.safetensors") == done.remarks
    assert all(found[name].tobytes() == weights[name].tobytes() for name in weights)


def test_target_that_cannot_be_written_is_named(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conversion, "save_file", full)
    target = tmp_path / "out.safetensors"
    message = f"{target}: cannot be written (No space left on device)."
    assert refusal_of(source, target) == message


@pytest.mark.parametrize(
    ("kinds", "installed", "readers"),
    [
        (("torch", "tensorflow"), ("torch", "tensorflow"), ("torch", "tensorflow")),
        (("torch", "safetensors"), ("torch", "tensorflow"), ("torch", "tensorflow")),
        (("safetensors", "torch"), ("torch", "tensorflow"), ("tensorflow", "torch")),
        (("safetensors", "tensorflow"), ("torch", "tensorflow"), ("torch", "tensorflow")),
        (("torch", "safetensors"), ("torch",), ("torch", "torch")),
        (("safetensors", "safetensors"), ("tensorflow",), ("tensorflow", "tensorflow")),
    ],
    ids=str,
)
def test_outputs_are_computed_by_two_frameworks_where_there_are_two(
    monkeypatch, kinds, installed, readers
):
    monkeypatch.setattr(conversion, "is_installed", installed.__contains__)
    assert conversion._readers(*kinds) == readers  # noqa: SLF001 - which of the two reads


def test_outputs_need_one_framework(source, tmp_path, monkeypatch):
    def missing(name):
        raise FrameworkError(f"{name} is not installed")

    monkeypatch.setattr(conversion, "is_installed", lambda _: False)
    monkeypatch.setattr(conversion, "get_framework", missing)
    target = tmp_path / "out.safetensors"
    assert refusal_of(source, target, error=FrameworkError) == "torch is not installed"
