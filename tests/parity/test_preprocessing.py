"""A user's two preprocessing functions, in workers: right pairs hold, mistakes are named.

The tables of readings are compared with the frameworks' own functions here.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_impl.cli import main
from alexnet_impl.errors import RunError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.parity.record import read_record
from alexnet_impl.ports.image_readings import BLOCKY, FAST, RESAMPLINGS, decodings
from alexnet_impl.ports.model_workers import ModelWorkers
from alexnet_impl.ports.preprocessing_checks import compare_preprocessing
from alexnet_impl.ports.request import PairRequest, PreprocessingRequest
from alexnet_impl.ports.sample_images import write_samples
from alexnet_impl.ports.user_pair import compare_pair

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

NETS = """
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))

NORMALIZE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
usual = transforms.Compose(
    [transforms.Resize(72), transforms.CenterCrop(63), transforms.ToTensor(), NORMALIZE]
)
squashed = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
random = transforms.Compose([transforms.RandomCrop(16), transforms.ToTensor()])
level = v2.Compose([v2.Resize((64, 64)), v2.ToDtype(torch.float32, scale=True)])

def factory():
    return usual

def by_path(path):
    return usual(Image.open(path).convert("RGB"))[None]

def strict(path):
    return usual(Image.open(path))

def floats(image):
    tensor = v2.functional.to_dtype(v2.functional.to_image(image), torch.float32, scale=True)
    return v2.functional.resize(tensor, [64, 64], antialias=True)

def levels(image):
    return level(v2.functional.to_image(image))

def grey(image):
    return transforms.functional.to_tensor(image.resize((64, 64)).convert("L"))

def turned(path):
    return squashed(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))

def channels_last(path):
    return torch.zeros(64, 64, 3)

def nothing(path):
    return None
"""

PORT = """
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

def port():
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Dense(10)])

def centre(image, size=63):
    top, left = (round((length - size) / 2) for length in image.shape[:2])
    return image[top : top + size, left : left + size]

def short_side(path, filter=Image.BILINEAR, short=72):
    image = Image.open(path).convert("RGB")
    size = [short if length == min(image.size) else int(short * length / min(image.size))
            for length in image.size]
    return np.asarray(image.resize(size, filter), np.float32)

def imagenet(image):
    return keras.applications.imagenet_utils.preprocess_input(image, mode="torch")

def right(path):
    return imagenet(centre(short_side(path)))

def caffe(path):
    return keras.applications.vgg16.preprocess_input(centre(short_side(path)))

def undivided(path):
    return (centre(short_side(path)) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]

def blue(path):
    return right(path)[..., ::-1]

def squashing(path):
    image = np.asarray(Image.open(path).convert("RGB").resize((63, 63), Image.BILINEAR), np.float32)
    return imagenet(image)

def one_pixel_off(path):
    image = short_side(path)
    top, left = ((length - 63) // 2 for length in image.shape[:2])
    image = image[top : top + 63, left : left + 63]
    return imagenet(image)

def same(path):
    return keras.utils.img_to_array(
        keras.utils.load_img(path, target_size=(64, 64), interpolation="bilinear")) / 255

def bicubic(path):
    return keras.utils.img_to_array(
        keras.utils.load_img(path, target_size=(64, 64), interpolation="bicubic")) / 255

def nearest(path):
    return keras.utils.img_to_array(keras.utils.load_img(path, target_size=(64, 64))) / 255

def accurate(path):
    data = tf.io.read_file(path)
    if path.endswith("png"):
        return tf.io.decode_png(data, 3)
    return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")

def floats(path):
    return tf.image.resize(accurate(path), (64, 64), antialias=True) / 255

def fast(path):
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return tf.image.resize(image, (64, 64), antialias=True) / 255

def plain(path):
    return tf.image.resize(accurate(path), (64, 64)) / 255

def cut(path):
    return tf.cast(tf.cast(floats(path) * 255, tf.uint8), tf.float32) / 255

def symmetric():
    return keras.Sequential([keras.layers.Resizing(64, 64), keras.layers.Rescaling(1 / 127.5, -1)])

def white(path):
    image = Image.open(path)
    ground = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return np.asarray(image.resize((64, 64), Image.BILINEAR), np.float32) / 255

def grey(path):
    image = Image.open(path).convert("RGB").resize((64, 64), Image.BICUBIC).convert("L")
    return np.asarray(image, np.float32)[..., None] / 255

def standardised(path):
    return tf.image.per_image_standardization(floats(path))

read = keras.applications.vgg16.preprocess_input
"""


@pytest.fixture(scope="module")
def workers():
    with ModelWorkers() as workers:
        yield workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preprocessing")
    (folder / "nets.py").write_text(NETS)
    (folder / "port.py").write_text(PORT)
    return folder


@pytest.fixture
def compare(workers, folder, monkeypatch):
    """Compares nets.py's function with port.py's."""
    monkeypatch.chdir(folder)

    def compare(torch, tensorflow, images=None):
        request = PreprocessingRequest(
            torch=f"nets:{torch}", tensorflow=f"port:{tensorflow}", images=images
        )
        return compare_preprocessing(request, workers).check

    return compare


@pytest.mark.parametrize(
    ("torch", "tensorflow"),
    [
        ("usual", "right"),
        ("factory", "right"),
        ("by_path", "right"),
        ("squashed", "same"),
        ("floats", "floats"),
        ("grey", "grey"),
    ],
)
def test_right_pair_holds_in_every_form(compare, torch, tensorflow):
    check = compare(torch, tensorflow)
    assert check.holds, check
    assert check.notes == ()


PILLOW = "where PyTorch's are by Pillow's bilinear filter"
MISTAKES = {
    ("usual", "caffe"): ["channels were blue, green, red", "pixel - mean with ImageNet's mean"],
    ("usual", "undivided"): ["not divided by 255 before"],
    ("usual", "blue"): ["channels were blue, green, red"],
    ("usual", "squashing"): [
        "squashed to 63 x 63, where PyTorch's are resized to a short side of 72"
    ],
    ("usual", "one_pixel_off"): ["(half pixels rounded down)"],
    ("squashed", "bicubic"): [f"Pillow's bicubic filter, {PILLOW}"],
    ("squashed", "nearest"): [f"Pillow's nearest-neighbour filter, {PILLOW}"],
    ("squashed", "plain"): [f"bilinear interpolation without antialias, {PILLOW}"],
    ("squashed", "white"): ["decoded over white, where PyTorch's are decoded with their alpha"],
    ("squashed", "standardised"): ["bilinear interpolation with antialias", "each image's own"],
    ("squashed", "symmetric"): ["without antialias", "pixel / 127.5 - 1, where PyTorch's"],
    ("floats", "fast"): ["JPEG files were decoded with the fast DCT"],
    ("floats", "cut"): ["with antialias, cut to whole levels"],
    ("floats", "same"): ["Pillow's bilinear filter, where PyTorch's are by bilinear interpolation"],
    ("levels", "plain"): ["where PyTorch's are by torchvision's bilinear filter for uint8"],
    ("turned", "same"): ["decoded as stored, where PyTorch's are decoded turned by their EXIF"],
    ("usual", "read"): ["left in their own size", "blue, green, red", "pixel - mean"],
}


@pytest.mark.parametrize(("torch", "tensorflow"), MISTAKES)
def test_each_mistake_is_named_and_no_other(compare, torch, tensorflow):
    check = compare(torch, tensorflow)
    assert not check.holds
    words = MISTAKES[torch, tensorflow]
    assert len(check.causes) == len(words), [str(cause) for cause in check.causes]
    for cause, said in zip(check.causes, words, strict=True):
        assert said in str(cause)
        assert cause.side == "tensorflow"
        assert cause.distance < 2e-4  # a few values of 'cut' lie between two levels


def test_file_that_one_side_refuses_fails_only_if_it_is_the_users(compare, tmp_path):
    check = compare("strict", "right")
    assert check.holds
    assert [note.partition(" ")[0] for note in check.notes] == ["alpha.png", "grey.png"]
    own = write_samples(tmp_path, 0)["grey.png"]
    write_samples(tmp_path, 0)["alpha.png"].unlink()
    check = compare("strict", "right", str(tmp_path))
    assert check.where == own.name
    assert (check.causes[0].side, check.causes[0].where) == ("torch", own.name)


def test_random_preprocessing_is_said_to_be_random(compare):
    check = compare("random", "same")
    assert [(cause.side, "random" in cause.what) for cause in check.causes] == [("torch", True)]


@pytest.mark.parametrize(
    ("torch", "message"),
    [
        ("gone", "nets has no function gone"),
        ("channels_last", r"must return one image as \(channels, height, width\)"),
        ("nothing", "given the path or Pillow's image or the uint8 tensor, it returned NoneType"),
    ],
)
def test_function_that_is_no_preprocessing_is_refused(compare, torch, message):
    with pytest.raises(RunError, match=f"torch: nets:{torch}: .*{message}"):
        compare(torch, "same")


def test_preprocessing_is_the_first_check_of_a_pair(folder, monkeypatch):
    monkeypatch.chdir(folder)
    preprocessing = PreprocessingRequest(torch="nets:squashed", tensorflow="port:plain")
    record = compare_pair(
        PairRequest(torch="nets:net", tensorflow="port:port", preprocessing=preprocessing)
    )
    assert [check.name for check in record.checks][:2] == ["preprocessing", "architecture"]
    assert [check.name for check in record.failures] == ["preprocessing"]
    assert record.checks[-1].name == "steps"
    assert len(record.files) == 8


def test_command_compares_preprocessing_alone(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(folder)
    image = tmp_path / "image.png"
    Image.effect_noise((90, 70), 60).save(image)
    flags = ["--torch-preprocess", "nets:squashed", "--tensorflow-preprocess", "port:nearest"]
    output = tmp_path / "out"
    assert main(["parity", *flags, "--images", str(image), "--output", str(output)]) == 1
    assert "Pillow's nearest-neighbour filter" in capsys.readouterr().out
    record = read_record(output)
    assert list(record.files) == ["image.png"]
    assert record.request["preprocessing"]["images"] == str(image)
    assert "image.png" in (output / "parity.html").read_text(encoding="utf-8")


def test_documented_example_says_what_it_prints(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "parity.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (nets|port)\.py\n(.*?)```", text, re.DOTALL):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    command, quoted = re.search(
        r"\$ alexnet (parity --torch-pre.*?)\n(.*?)```", text, re.DOTALL
    ).groups()
    assert main([*command.split(), "--output", "out"]) == 1
    said, wanted = (
        " ".join(re.sub(r"\d\.\de[+-]\d\d", "#", one).split())
        for one in (capsys.readouterr().out, quoted)
    )
    assert wanted in said


def _named(name):
    return next(one for one in RESAMPLINGS if one.name == name)


@pytest.fixture(scope="module", params=[(37, 53), (9, 14)], ids=["shrinks", "enlarges"])
def image(request):
    return np.random.default_rng(0).integers(0, 256, (*request.param, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("method", "antialias", "name"),
    [
        ("bilinear", False, "bilinear interpolation without antialias"),
        ("bilinear", True, "bilinear interpolation with antialias"),
        ("bicubic", False, "bicubic interpolation without antialias"),
        ("bicubic", True, "bicubic interpolation with antialias"),
        ("lanczos3", False, "Lanczos interpolation without antialias"),
        ("lanczos3", True, "Lanczos interpolation with antialias"),
        ("area", False, "averages over areas"),
        ("nearest", False, "the nearest pixel"),
    ],
)
def test_table_resizes_as_tensorflow(image, method, antialias, name):
    get_framework("tensorflow")
    import tensorflow as tf

    theirs = tf.image.resize(image, (16, 20), method=method, antialias=antialias).numpy()
    assert np.abs(_named(name)(image, (16, 20)) - theirs).max() < 2e-3


@pytest.mark.parametrize("flag", ["align_corners", None])
def test_table_resizes_as_tensorflow_1(image, flag):
    get_framework("tensorflow")
    import tensorflow as tf

    flags = {} if flag is None else {flag: True}
    theirs = tf.compat.v1.image.resize(image.astype(np.float32), (16, 20), **flags).numpy()
    which = "with aligned corners" if flag else "without half-pixel centres"
    ours = _named(f"bilinear interpolation {which}")(image, (16, 20))
    assert np.abs(ours - theirs).max() < 2e-3


@pytest.mark.parametrize(
    ("mode", "flags", "name"),
    [
        ("bilinear", {}, "bilinear interpolation without antialias"),
        ("bilinear", {"antialias": True}, "bilinear interpolation with antialias"),
        ("bilinear", {"align_corners": True}, "bilinear interpolation with aligned corners"),
        ("bicubic", {}, "bicubic interpolation of PyTorch's and OpenCV's kernel without antialias"),
        ("bicubic", {"antialias": True}, "bicubic interpolation with antialias"),
        ("nearest-exact", {}, "the nearest pixel"),
        ("nearest", {}, RESAMPLINGS[7].name),
    ],
)
def test_table_resizes_as_pytorch(image, mode, flags, name):
    get_framework("torch")
    import torch

    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(tensor, (16, 20), mode=mode, **flags)
    ours = _named(name)(image, (16, 20))
    assert np.abs(ours - theirs[0].permute(1, 2, 0).numpy()).max() < 2e-3


def test_tensorflows_decoder_has_the_pixels_of_its_ways(tmp_path):
    """Its accurate DCT is Pillow's, which the table takes for granted."""
    adapter = get_framework("tensorflow")
    import tensorflow as tf

    data = (path := write_samples(tmp_path, 0)["large.jpg"]).read_bytes()
    found = adapter.decode_jpeg(data)
    assert np.array_equal(found["fast"], tf.io.decode_image(data, 3).numpy())
    ours = next(iter(decodings(path, {FAST + BLOCKY: found["fast repeated"]}).values()))
    accurate = tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE").numpy()
    assert np.array_equal(ours, accurate)
    assert len({pixels.tobytes() for pixels in (*found.values(), ours)}) == 4
