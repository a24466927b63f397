"""Images in a tar: read as from the folder, and refused before a claim costs memory."""

import gzip
import io
import re
import tarfile
import tracemalloc

import pytest

from alexnet_impl.data import archives, image_sources
from alexnet_impl.data.archives import file_kind
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.image_folder import load_image_folder
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, DataError

pytestmark = pytest.mark.fast

KINDS = {
    "a.tar": "w",
    "a.tar.gz": "w:gz",
    "a.tgz": "w:gz",
    "a.tar.bz2": "w:bz2",
    "a.tar.xz": "w:xz",
}


@pytest.fixture
def pack(image_tree):
    """Packs the image tree, and what a function adds, into a tar of this name."""

    def pack(name="a.tgz", prefix="", add=None):
        path = image_tree.parent / name
        with tarfile.open(path, KINDS.get(name, "w:gz"), format=tarfile.GNU_FORMAT) as tar:
            tar.add(image_tree, prefix)
            if add:
                add(tar)
        return path

    return pack


def put(tar, name, content=b"", **fields):
    """Adds a member with these fields."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("prefix", [".", "pets", "./a/b"])
@pytest.mark.parametrize("name", [*KINDS, "renamed (1)"])
def test_tar_gives_the_same_as_the_folder(image_tree, pack, name, prefix):
    path = pack(name, prefix)
    dataset = load_dataset(DataConfig(data_dir=path))
    assert dataset.fingerprint == load_image_folder(image_tree).fingerprint
    assert name in dataset.source


def test_tar_in_a_folder_is_offered(pack, tmp_path):
    path = pack("a.tgz")
    (tmp_path / "empty").mkdir()
    path = path.rename(tmp_path / "empty" / path.name)
    with pytest.raises(DataError, match=re.escape(f"Did you mean '{path}'?")):
        load_image_folder(tmp_path / "empty")


def test_links_to_images_in_the_tar_are_followed(image_tree, pack):
    def add(tar):
        put(tar, "train/cat/9.png", type=tarfile.LNKTYPE, linkname="./train/dog/0.png")
        put(tar, "train/dog/9.png", type=tarfile.SYMTYPE, linkname="../cat/8.png")  # leads on
        put(tar, "train/cat/8.png", type=tarfile.SYMTYPE, linkname="0.png")

    path = pack(add=add)
    image = {name: (image_tree / f"train/{name}/0.png").read_bytes() for name in ("cat", "dog")}
    for name, source in {"cat/9": "dog", "dog/9": "cat", "cat/8": "cat"}.items():
        (image_tree / f"train/{name}.png").write_bytes(image[source])
    assert load_image_folder(path).fingerprint == load_image_folder(image_tree).fingerprint


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("train/cat/9.png", "../../../pets/train/cat/0.png"),
        ("train/cat/9.png", "9.png"),
        ("train/cat/9.png", "../dog"),
        ("9.png", "missing.png"),
        ("train/cow", "cat"),
        ("test", "elsewhere"),
    ],
)
def test_links_that_lead_to_no_image_are_counted_and_named(pack, name, target):
    path = pack(add=lambda tar: put(tar, name, type=tarfile.SYMTYPE, linkname=target))
    told = rf"1 file left out: 1 link without an image in the archive, such as '{name}' \(pack it"
    with pytest.warns(AlexNetWarning, match=told):
        dataset = load_image_folder(path)
    assert len(dataset.train) == 6
    assert "1 link without" in dataset.source


def test_tar_of_links_alone_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        put(tar, "train/cat/0.png", type=tarfile.SYMTYPE, linkname="../../real.png")
    with pytest.raises(DataError, match="contains no images; it has 1 link without an image in"):
        load_image_folder(tmp_path / "a.tar")


def test_members_that_lead_out_are_left_out(image_tree, pack, tmp_path):
    picture = (image_tree / "train" / "cat" / "0.png").read_bytes()

    def add(tar):
        for name in ("../train/cat/9.png", "/train/cat/9.png", "train/../train/cat/9.png"):
            put(tar, name, picture)
        put(tar, "train/cat/8.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        put(tar, "train/cat/7.png", type=tarfile.CHRTYPE)

    path = pack(add=add)
    before = sorted(tmp_path.rglob("*"))
    with pytest.warns(AlexNetWarning, match=r"1 link without .* such as 'train/cat/8\.png'"):
        assert len(load_image_folder(path).train) == 6
    assert sorted(p for p in tmp_path.rglob("*") if "cache" not in p.parts) == before


def test_file_too_large_for_an_image_is_refused_before_it_is_unpacked(pack, monkeypatch):
    monkeypatch.setattr(image_sources, "_LARGEST_FILE_BYTES", 2**20)
    path = pack(add=lambda tar: put(tar, "train/cat/9.png", bytes(2**21)))
    with pytest.raises(DataError, match=r"9\.png has 2,097,152 bytes, and an image has at most"):
        load_image_folder(path)


def test_tar_that_unpacks_to_far_more_than_it_has_is_refused(pack, monkeypatch):
    monkeypatch.setattr(archives, "_RATIO_FROM_BYTES", 2**16)
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 2**16)
    path = pack(add=lambda tar: put(tar, "notes.txt", bytes(2**24)))
    with pytest.raises(DataError, match=r"a\.tgz: does not unpack \(it unpacks to more than"):
        load_image_folder(path)


def test_header_that_claims_gigabytes_takes_no_memory(tmp_path):
    """The names of a member lie in a header of any size, which tarfile reads at once."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**34
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(2**20)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="it asks for 17,179,869,184 bytes at once"):
            load_image_folder(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.xz", "a.tar"])
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_truncated_tar_is_refused(pack, name, share):
    path = pack(name)
    data = path.read_bytes()
    # Members and padding are multiples of 512 bytes: without the zeros that follow, nothing is cut.
    whole = -(-len(data.rstrip(b"\0")) // 512) * 512 if name == "a.tar" else len(data) - 4
    path.write_bytes(data[: int(whole * share) // 512 * 512 or whole])
    with pytest.raises(DataError, match=rf"{name}: does not unpack \(.*get it again"):
        load_image_folder(path)


def test_damaged_header_in_the_middle_is_noticed(pack):
    """tarfile takes it for the end: half of the images would be missing without a word."""
    path = pack("a.tar")
    data = bytearray(path.read_bytes())
    place = data.index(b"train/dog/1.png")
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"it is damaged at byte {place:,}"):
        load_image_folder(path)


def test_tar_that_does_not_fit_into_memory_is_refused(pack, monkeypatch):
    path = pack()
    monkeypatch.setattr(image_sources, "_LOOK_EVERY_BYTES", 2**60)
    monkeypatch.setattr(image_sources.TarSource, "_check_memory", lambda *_: 1 / 0)
    load_image_folder(path)  # not looked at for a few bytes
    monkeypatch.undo()
    monkeypatch.setattr(image_sources, "_LOOK_EVERY_BYTES", -1)
    memory = type("Memory", (), {"available": 10})
    monkeypatch.setattr(image_sources.psutil, "virtual_memory", memory)
    with pytest.raises(DataError, match="its images do not fit into memory, of which"):
        image_sources.open_source(path).files  # noqa: B018 - reads it


def test_gzip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 4))
    with pytest.raises(DataError, match=r"ubyte\.gz: does not unpack"):
        load_image_folder(path)


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (b"", "empty", "an empty file; get it again"),
        (b"\n<!DOCTYPE html><p>", "web page", "a web page, not the file"),
        (b"\xef\xbb\xbf<!-- x --><html>", "web page", "a web page, not the file"),
        (b"<head><title>Sign in</title>", "web page", "a web page, not the file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", "git lfs pull"),
        (b"7z\xbc\xaf\x27\x1c rest", "7z", "a 7z archive; unpack it"),
        (b"Rar!\x1a\x07", "rar", "a RAR archive; unpack it"),
        (b"\x80\x02}q\x01.", "", "neither a folder nor an archive"),
    ],
)
def test_file_of_another_kind_is_called_what_it_is(tmp_path, content, kind, told):
    path = tmp_path / "cifar10.zip"
    path.write_bytes(content)
    assert file_kind(path) == kind
    with pytest.raises(DataError, match=told):
        load_dataset(DataConfig(data_dir=path))
