"""How a preprocessing function reads files is found from what it returns."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.preprocessed import noise_files, results

from alexnet_impl.errors import DataError, ParityError
from alexnet_impl.frameworks.user_preprocessing import PreprocessedFile
from alexnet_impl.ports import sample_images
from alexnet_impl.ports.image_readings import (
    ACCURATE,
    DECODING_REMEDIES,
    FAST,
    FRAMINGS,
    GREY,
    ORDERS,
    ORIENTATION,
    RESAMPLINGS,
    SCALINGS,
    Decoding,
    decodings,
    in_order,
    unusual_framing,
)
from alexnet_impl.ports.preprocessing_checks import explained, judge_results
from alexnet_impl.ports.preprocessing_search import rescaled
from alexnet_impl.ports.sample_images import sample_files, write_samples

pytestmark = pytest.mark.fast
RGB, BGR = ORDERS
PLAIN = next(one for one in RESAMPLINGS if one.name == "bilinear interpolation without antialias")
CROPPED = next(one for one in FRAMINGS if one.short(224) == 256)


@pytest.fixture(scope="module")
def files():
    return noise_files()


def causes(files, ours, theirs):
    sides = {
        side: {name: PreprocessedFile(image=image) for name, image in made.items()}
        for side, made in (("torch", ours), ("tensorflow", theirs))
    }
    check, _ = judge_results(sides, generated=True)
    assert not check.holds
    return explained(check, sides, files)


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda one: one.name)
@pytest.mark.parametrize("order", ORDERS)
def test_scaling_and_order_are_recognised(files, order, scaling):
    pixels = {name: next(iter(choices.values())) for name, choices in files.items()}
    made = {
        n: in_order(p * np.array(scaling.slope) + scaling.offset, order) for n, p in pixels.items()
    }
    assert rescaled(pixels, made)[:2] == (order, scaling)


@pytest.mark.parametrize(
    ("slope", "offset", "said"),
    [
        ([0.5, 0.5, 0.5], [3, 3, 3], "pixel * (0.5, 0.5, 0.5) + (3, 3, 3)"),
        ([0.02, 0.02, 0.01], [-2, -1, -1], "(pixel / 255 - (0.3922, 0.1961, 0.3922)) / (0.1961, "),
    ],
)
def test_scaling_of_other_numbers_says_them(files, slope, offset, said):
    pixels = {name: next(iter(choices.values())) for name, choices in files.items()}
    made = {name: one * np.array(slope) + np.array(offset) for name, one in pixels.items()}
    _, scaling, again = rescaled(pixels, made)
    assert scaling.name.startswith(said)
    assert np.allclose(again["wide.png"], made["wide.png"])


def test_short_side_of_any_length_is_recognised(files):
    framing = unusual_framing(21)
    check = causes(files, results(files), results(files, framing))
    said = "resized to a short side of 21 and cut to the middle, 16 x 16, where PyTorch's"
    assert [said in cause.what for cause in check.causes] == [True]


def test_one_channel_is_grey(files):
    pixels = {name: next(iter(choices.values())) for name, choices in files.items()}
    made = {name: in_order(one, GREY) / 255 for name, one in pixels.items()}
    assert rescaled(pixels, made)[:2] == (GREY, SCALINGS[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resampling": PLAIN}, ["resized by bilinear interpolation without antialias"]),
        ({"framing": CROPPED}, ["resized to a short side of 18 and cut to the middle, 16 x 16"]),
        ({"order": BGR}, ["channels were blue, green, red, where PyTorch's are red, green, blue"]),
        ({"scaling": SCALINGS[2]}, ["pixel / 127.5 - 1, where PyTorch's becomes pixel / 255"]),
        (
            {"resampling": PLAIN, "order": BGR, "scaling": SCALINGS[0]},
            ["without antialias", "blue, green, red", "a pixel became pixel, where"],
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_every_difference_of_two_readings_is_a_cause(files, changes, words):
    check = causes(files, results(files), results(files, **changes))
    assert len(check.causes) == len(words)
    for cause, word in zip(check.causes, words, strict=True):
        assert word in cause.what
        assert cause.distance < 1e-6
    assert len(check.notes) == 2


def test_scaling_of_each_image_by_its_own_mean_is_recognised(files):
    theirs = {n: (one - one.mean()) / one.std() for n, one in results(files).items()}
    check = causes(files, results(files), theirs)
    assert ["with each image's own" in cause.what for cause in check.causes] == [True]


def test_unknown_reading_is_no_cause_but_a_line_of_the_other_side_is_one(files):
    random = np.random.default_rng(0)
    strange = {name: random.random(one.shape) for name, one in results(files).items()}
    check = causes(files, results(files), strange)
    assert check.causes == ()
    assert "none that this release recognises" in check.notes[1]
    doubled = {name: one / 255 for name, one in strange.items()}
    check = causes(files, strange, doubled)
    assert ["each value were pixel / 255 of PyTorch's" in c.what for c in check.causes] == [True]


def test_other_number_of_channels_is_a_cause(files):
    ours = results(files)
    theirs = ours | {"tall.png": ours["tall.png"][..., :1]}
    check = causes(files, ours, theirs)
    assert check.measured == np.inf
    assert check.causes[0].where == "tall.png"
    assert "1 channels, where PyTorch's have 3" in check.causes[0].what


def test_refused_file_counts_if_it_is_the_users_own(files):
    image = PreprocessedFile(image=results(files)["wide.png"])
    refused = PreprocessedFile(image=None, error="it raised")
    sides = {"torch": {"a": image, "b": refused}, "tensorflow": {"a": image, "b": image}}
    check, apart = judge_results(sides, generated=True)
    assert check.holds
    assert apart == {"a": 0.0}
    assert "PyTorch's preprocessing refuses it: it raised" in check.notes[0]
    check, apart = judge_results(sides, generated=False)
    assert apart["b"] == np.inf
    assert (check.causes[0].side, check.causes[0].where) == ("torch", "b")


def test_functions_that_accept_no_file_in_common_are_refused(files):
    image = PreprocessedFile(image=results(files)["wide.png"])
    refused = PreprocessedFile(image=None, error="it raised")
    sides = {"torch": {"a": image, "b": refused}, "tensorflow": {"a": refused, "b": image}}
    with pytest.raises(ParityError, match=r"no file that both .* tensorflow: it raised"):
        judge_results(sides, generated=True)


def test_values_that_are_not_finite_are_a_cause(files):
    image = PreprocessedFile(image=results(files)["wide.png"])
    other = replace(image, image=np.full_like(image.image, np.nan))
    check, _ = judge_results({"torch": {"a": image}, "tensorflow": {"a": other}}, generated=True)
    assert [(cause.where, "NaN" in cause.what) for cause in check.causes] == [("a", True)]


def test_random_preprocessing_is_said_to_be_random(files):
    image = PreprocessedFile(image=results(files)["wide.png"])
    other = replace(image, image=image.image + 1, random=True)
    check, _ = judge_results({"torch": {"a": image}, "tensorflow": {"a": other}}, generated=True)
    assert ["random" in cause.what for cause in check.causes] == [True]


def test_decodings_of_files_are_those_that_their_kinds_leave(tmp_path):
    made = write_samples(tmp_path, 0)
    fast = np.zeros((200, 320, 3), np.uint8)
    turned = decodings(made["turned.jpg"], {FAST: fast})
    ways = {(way.jpeg, way.turned): pixels.shape for way, pixels in turned.items()}
    upright = "turned by their EXIF orientation"
    assert ways == {
        (ACCURATE, "as stored"): (200, 320, 3),
        (ACCURATE, upright): (320, 200, 3),
        (FAST, "as stored"): (200, 320, 3),
        (FAST, upright): (320, 200, 3),
    }
    alpha = decodings(made["alpha.png"], {})
    assert {way.alpha for way in alpha} == set(list(DECODING_REMEDIES)[-3:])
    assert len({pixels.tobytes() for pixels in alpha.values()}) == 3
    assert list(decodings(made["grey.png"], {})) == [Decoding()]


def test_alpha_over_white_is_named_with_its_file(files):
    random = np.random.default_rng(1)
    ways = [Decoding(alpha=alpha) for alpha in list(DECODING_REMEDIES)[-3:]]
    drawn = {way: random.integers(0, 256, (20, 30, 3), dtype=np.uint8) for way in ways}
    both = {**files, "alpha.png": drawn}
    check = causes(both, results(both), results(both, way=1))
    assert [cause.where for cause in check.causes] == ["alpha.png"]
    assert "decoded over white" in check.causes[0].what


def test_alpha_that_one_side_cuts_away_is_read_as_the_other_side_reads_it(files):
    ways = [Decoding(alpha=alpha) for alpha in list(DECODING_REMEDIES)[-3:]]
    drawn = {}
    for way, level in zip(ways, (0, 255, 128), strict=True):
        drawn[way] = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        drawn[way][:4] = level
    both = {**files, "alpha.png": drawn}
    cut = next(one for one in FRAMINGS if not one.resizes and one.name.startswith("cut"))
    check = causes(both, results(both, way=1), results(both, cut, way=1))
    assert ["cut or padded to 16 x 16 and not" in cause.what for cause in check.causes] == [True]


def noise(*sizes):
    random = np.random.default_rng(0)
    made = {str(size): random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes}
    return {name: {Decoding(): image} for name, image in made.items()}


def test_resampling_that_only_one_file_shows_is_a_cause():
    """The file that shows it is none of those that the search begins with."""
    files = noise((4, 4), (20, 4), (8, 16), (16, 16))
    antialias = next(
        one for one in RESAMPLINGS if one.name == "bilinear interpolation with antialias"
    )
    check = causes(files, results(files, resampling=antialias), results(files, resampling=PLAIN))
    assert ["interpolation without antialias, where" in c.what for c in check.causes] == [True]


def test_of_equal_readings_that_of_the_other_side_is_taken():
    """Twice as large, a box filter takes the nearest pixel."""
    files = noise((8, 8))
    box = next(one for one in RESAMPLINGS if one.name == "Pillow's box filter")
    image = next(iter(files["(8, 8)"].values()))
    small, large = ({"(8, 8)": box(image, (size, size)) / 255} for size in (6, 16))
    check = causes(files, small, large)
    assert [cause.what for cause in check.causes] == [
        "images were squashed to 16 x 16, where PyTorch's are squashed to 6 x 6"
    ]


def test_samples_are_the_same_for_a_seed_and_of_every_kind(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    first, second = (write_samples(folder, 3) for folder in folders)
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)
    with Image.open(first["turned.jpg"]) as image:
        assert image.getexif()[ORIENTATION] == 6
    assert {Image.open(path).mode for path in first.values()} == {"RGB", "RGBA", "L"}


def test_files_of_a_folder_are_taken_at_equal_distances(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_images, "MOST_FILES", 3)
    for number in range(9):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no image")
    with sample_files(str(tmp_path), 0) as found:
        assert list(found) == ["0.png", "4.png", "8.png"]
    with sample_files(str(tmp_path / "5.png"), 0) as found:
        assert list(found) == ["5.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("gone", "there is no such file"), ("notes.txt", "not an image"), ("empty", "no image file")],
)
def test_images_that_are_none_are_refused(tmp_path, name, words):
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=words), sample_files(str(tmp_path / name), 0):
        pass
