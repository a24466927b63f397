import os
import pwd
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from safetensors.numpy import load_file, save_file
from support.leftovers import write_leftover

from alexnet_impl import api
from alexnet_impl.data.cache import cache_dir, cached_dataset, read_cache, write_cache
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import settle
from alexnet_impl.data.synthetic import make_synthetic
from alexnet_impl.errors import AlexNetWarning, DataError
from alexnet_impl.network.own_network import load_own_variant
from alexnet_impl.recipe.recipe_file import choose_recipe
from alexnet_impl.weights.published_files import weights_folder

pytestmark = pytest.mark.fast

KEY = "0123456789abcdef" * 4


class Builder:
    """Builds a small data set and counts how often."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return make_synthetic(train_images=30, test_images=10, image_size=8)


@pytest.fixture
def builder() -> Builder:
    return Builder()


def cache_file() -> Path:
    (path,) = cache_dir().glob("*.safetensors")
    return path


def test_cache_dir_is_the_users_unless_chosen(monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE_DIR", "chosen")
    assert cache_dir() == Path("chosen")
    monkeypatch.setenv("ALEXNET_CACHE_DIR", "")
    assert cache_dir() == platformdirs.user_cache_path("alexnet_impl")


@pytest.fixture
def no_home(monkeypatch):
    """A user id without an entry in the password file, as in many containers, and no variables."""
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "KERAS_HOME", "ALEXNET_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)


@pytest.mark.parametrize(
    ("look", "remedy"),
    [
        (cache_dir, "set ALEXNET_CACHE_DIR"),
        (lambda: weights_folder("torch"), "set TORCH_HOME"),
        (lambda: weights_folder("tensorflow"), "set KERAS_HOME"),
        (lambda: settle(DataConfig(data_dir=Path("~/images"))), "give the absolute path"),
        (lambda: api.load_run("~/run"), "give an absolute path"),
        (lambda: api.predict("~/run", "~/a.png"), "give an absolute path"),
        (lambda: api.convert("~/a.pt", "~/b.keras"), "give an absolute path"),
        (lambda: api.train("torch", output="~/run"), "give an absolute path"),
        (lambda: choose_recipe("~/a.toml"), "give the absolute path of the recipe"),
        (lambda: load_own_variant("~/a.py:net"), "give the absolute path of the file"),
    ],
)
def test_no_home_folder_is_an_error_with_a_remedy(no_home, look, remedy):  # noqa: ARG001
    with pytest.raises(DataError, match=f"home folder is not known .*; {remedy}"):
        look()


def test_without_a_home_folder_nothing_is_cached(no_home, builder):  # noqa: ARG001
    with pytest.warns(AlexNetWarning, match="not cached.* set ALEXNET_CACHE_DIR"):
        cached_dataset(KEY, builder)
    assert builder.count == 1


def test_cache_builds_once_and_keeps_everything(builder):
    first = cached_dataset(KEY, builder)
    second = cached_dataset(KEY, builder)
    assert builder.count == 1
    assert second.fingerprint == first.fingerprint
    assert (second.name, second.source, second.class_names) == (
        first.name,
        first.source,
        first.class_names,
    )
    assert [path.name for path in cache_dir().iterdir()] == [f"{KEY}.safetensors"]


def test_cache_of_another_key_is_another_file(builder):
    cached_dataset(KEY, builder)
    cached_dataset(KEY[::-1], builder)
    assert builder.count == 2


def flip_a_pixel(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def fill_with_text(path):
    path.write_text("no safetensors at all " * 100)


def change_the_source(path):
    path.write_bytes(path.read_bytes().replace(b"Noise over", b"Truth over"))


def change_a_class_name(path):
    path.write_bytes(path.read_bytes().replace(b"pattern3", b"patternX"))


def rewrite_with_another_label(path):
    tensors = load_file(path)
    tensors["train_labels"][0] += 1
    save_file(tensors, path, metadata=dict(read_metadata(path)))


def rewrite_without_metadata(path):
    save_file(load_file(path), path)


def rewrite_without_a_tensor(path):
    tensors = load_file(path)
    del tensors["test_labels"]
    save_file(tensors, path, metadata=dict(read_metadata(path)))


def rewrite_with_other_types(path):
    tensors = {name: array.astype(np.int32) for name, array in load_file(path).items()}
    save_file(tensors, path, metadata=dict(read_metadata(path)))


def nest_the_class_names(path):
    metadata = dict(read_metadata(path)) | {"class_names": "[[1]]"}
    save_file(load_file(path), path, metadata=metadata)


def read_metadata(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata()


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        cut_in_half,
        empty,
        fill_with_text,
        change_the_source,
        change_a_class_name,
        rewrite_with_another_label,
        rewrite_without_metadata,
        rewrite_without_a_tensor,
        rewrite_with_other_types,
        nest_the_class_names,
    ],
)
def test_damaged_cache_is_built_anew(builder, damage):
    intact = cached_dataset(KEY, builder)
    damage(cache_file())
    with pytest.warns(UserWarning, match="damaged.* It is built anew"):
        again = cached_dataset(KEY, builder)
    assert builder.count == 2
    assert again.fingerprint == intact.fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached_dataset(KEY, builder)
    assert builder.count == 2


def test_cache_of_another_key_under_this_name_is_not_believed(builder):
    path = cache_dir() / "x.safetensors"
    write_cache(path, builder(), KEY)
    assert read_cache(path, KEY).num_classes == 10
    with pytest.raises(DataError, match="damaged or not of this version"):
        read_cache(path, KEY[::-1])


def test_unwritable_cache_is_done_without(builder, cache_folder):
    cache_folder.write_text("a file where the folder should be")
    for count in (1, 2):
        with pytest.warns(UserWarning, match="cannot be cached in .*Set ALEXNET_CACHE_DIR"):
            dataset = cached_dataset(KEY, builder)
        assert len(dataset.train) == 30
        assert builder.count == count


def test_failed_write_leaves_nothing_behind(builder, monkeypatch):
    def fail_half_way(_, path, **__):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("alexnet_impl.data.cache.save_file", fail_half_way)
    with pytest.warns(UserWarning, match="No space left on device"):
        cached_dataset(KEY, builder)
    assert list(cache_dir().iterdir()) == []


def test_leftovers_of_killed_writers_are_removed_but_not_of_living_ones(builder):
    cache_dir().mkdir()
    dead = write_leftover(cache_dir() / "one")
    alive = write_leftover(cache_dir() / "two", pid=os.getppid())
    cached_dataset(KEY, builder)
    assert not dead.exists()
    assert alive.exists()


LOAD = """
import sys, time, warnings
from pathlib import Path
warnings.simplefilter("error")
from alexnet_impl.data import image_folder
folder, ready, go = map(Path, sys.argv[1:])
ready.touch()
while not go.exists():
    time.sleep(0.001)
print(image_folder.load_image_folder(folder).fingerprint)
"""


@pytest.mark.slow
def test_two_processes_may_build_the_same_cache_at_once(image_tree, tmp_path):
    go = tmp_path / "go"
    readies = [tmp_path / f"ready{number}" for number in range(2)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(image_tree), str(ready), str(go)],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        )
        for ready in readies
    ]
    deadline = time.monotonic() + 120
    while not all(ready.exists() for ready in readies) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert all(ready.exists() for ready in readies)
    go.touch()
    fingerprints = [worker.communicate(timeout=120)[0].strip() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert len(fingerprints[0]) == 64
    assert fingerprints[0] == fingerprints[1]
    assert len(list(cache_dir().iterdir())) == 1
    assert read_cache(cache_file(), cache_file().stem).fingerprint == fingerprints[0]
