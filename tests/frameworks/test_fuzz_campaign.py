"""A campaign of damaged inputs: every reader takes each of them, or refuses it in one line.

An input is made from its number alone, so that a failure can be repeated. `pytest -m slow -k
fuzz_campaign --fuzz-inputs 10000` tries more of them.
"""

import io
import json
import pickle
import resource
import tarfile
import warnings
import zipfile
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from support.measured import EQUAL, HELD, noise_config, pair, side
from support.records import epoch_record, run_result

from alexnet_impl.cli import main
from alexnet_impl.cli.parsing import parse
from alexnet_impl.data.cache import cached_dataset
from alexnet_impl.data.cifar import CIFAR10_PYTHON
from alexnet_impl.data.cifar_files import _fill
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Split
from alexnet_impl.data.decoding import decode_image
from alexnet_impl.data.image_folder import load_image_folder
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetError
from alexnet_impl.explain.study import ExplainRequest, read_request, write_request
from alexnet_impl.frameworks import get_framework
from alexnet_impl.measurement.recording import entry_of, read_recording, write_recording
from alexnet_impl.parity.record import ParityRecord, read_record, write_record
from alexnet_impl.ports.request import parse_names
from alexnet_impl.processes.weight_files import Hints, read_network
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.claims.table import read_claims
from alexnet_impl.reproduction.runs.experiment_record import ExperimentRecord
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import History, Predictions
from alexnet_impl.training.checkpoint import checkpoint_weights
from alexnet_impl.training.features import _is_whole as is_whole
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, save_weights, store_info
from alexnet_impl.weights.pretrained_files import find_pretrained
from alexnet_impl.weights.safetensors_io import write_safetensors

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

DATA = DataConfig(dataset="synthetic", image_size=8, train_images=20, test_images=10)
CONFIG = noise_config(get_recipe("quick"), width=1 / 64)
HINTS = Hints(variant="cifar")
KEY = "0" * 64
KINDS = (
    *("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm", "tga", "pcx", "sgi", "dds", "qoi"),
    *("jpeg2000", "ico", "icns", "avif"),
)
"""Formats that Pillow writes."""
UNWRITTEN = {
    "fits": b"".join(
        card.ljust(80)
        for card in (b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 2", b"NAXIS1  = 9", b"NAXIS2  = 9")
    ).ljust(400)
    + b"END".ljust(2480)
    + bytes(2880),
    "ras": b"".join(n.to_bytes(4, "big") for n in (0x59A66A95, 9, 9, 24, 270, 1, 0, 0))
    + bytes(270),
    "xpm": b'/* XPM */\nstatic char *a[] = {\n"2 2 1 1",\n"a c #ff0000",\n"aa",\n"aa"\n};\n',
    "cur": np.array([0, 2, 1, 257, 0, 0, 0, 44, 0, 22, 0], "<u2").tobytes()
    + np.array([40, 1, 2, 1 + (32 << 16), 0, 0, 0, 0, 0, 0, 255], "<u4").tobytes(),
}
"""Small images in formats that Pillow only reads."""
CLAIMS = Path(read_claims.__code__.co_filename).with_name("claims.csv")
"""The reports' claims, of which a file has some."""
PYTEST = {
    "machine_info": {"cpu": {"brand_raw": "a processor"}, "python_version": "3.11.7"},
    "benchmarks": [
        {
            "name": "a",
            "fullname": "t.py::a",
            "group": None,
            "extra_info": {},
            "stats": {"mean": 0.1, "stddev": 0.01, "rounds": 4, "data": [0.1, 0.1, 0.11, 0.09]},
        },
        {"name": "b", "stats": {"mean": 0.1, "stddev": 0.01, "rounds": 4}},
    ],
}
"""What pytest-benchmark writes, with raw times and without."""
MOST_MEMORY_BYTES = 4 << 30
NUMBERS = (0, -1, 1, 255, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
ODD_VALUES = (
    *(None, True, -1, 0, 1.5, 2**70, 1e999, float("nan"), "", "nan", "x" * 300, "\ud800", "\udcff"),
    *([], {}, [[]], {"a": 1}, "../../etc", "a\nb", "\x1b[31m", "[red]", "0", [None], ["\ud800"]),
)


class Trap:
    """Makes a file when it is unpickled."""

    path = Path()

    def __reduce__(self):
        return Path.touch, (self.path,)


def damaged(rng, data):
    """Some bytes changed, removed, doubled or moved."""
    for _ in range(rng.integers(1, 5)):
        first, second = sorted(map(int, rng.integers(0, len(data) + 1, 2)))
        if rng.random() < 0.5:  # most of the readers' decisions are at the beginning
            first, second = first // 50, second // 50
        before, within, after = data[:first], data[first:second], data[second:]
        width = int(rng.choice([1, 2, 4, 8]))
        number = NUMBERS[rng.integers(len(NUMBERS))] % 2 ** (8 * width)
        within = [
            rng.bytes(1) + within[1:],
            number.to_bytes(width, "little") + within[width:],
            b"",
            within[:5000] + within,
            within[::-1],
        ][rng.integers(5)]
        data = before + within + (after if rng.random() < 0.8 else b"")
    return data


def changed(rng, value, depth=0):
    """A JSON value with one part of it replaced, removed or nested."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9 and depth < 6:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[rng.integers(len(keys))]
        copy = value.copy()
        if rng.random() < 0.15:
            del copy[key]
        else:
            copy[key] = changed(rng, value[key], depth + 1)
        return copy
    return ODD_VALUES[rng.integers(len(ODD_VALUES))]


def nested(rng):
    """Brackets within brackets, as deep as JSON readers go and deeper."""
    depth = int(rng.choice([50, 300, 900, 990, 3000, 200_000]))
    opening, closing = ("[", "]") if rng.random() < 0.5 else ('{"a":', "}")
    return opening * depth + "1" + closing * depth


def damaged_json(rng, data):
    """The text of a JSON file with odd values, or damaged bytes."""
    if rng.random() < 0.3:
        return damaged(rng, data)
    text = json.dumps(changed(rng, json.loads(data)))
    if rng.random() < 0.2:
        return text.replace("1", nested(rng), 1).encode()
    return text.encode()


def damaged_safetensors(rng, data):
    """A file with an odd header, or damaged bytes."""
    if rng.random() < 0.3:
        return damaged(rng, data)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if rng.random() < 0.5:
        metadata = header["__metadata__"]
        name = list(metadata)[rng.integers(len(metadata))]
        metadata[name] = nested(rng) if rng.random() < 0.2 else json.dumps(changed(rng, None))
        if rng.random() < 0.3:
            header["__metadata__"] = changed(rng, metadata)
    else:
        header = changed(rng, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def damaged_zip(rng, data):
    """A zip with one of its entries damaged or compressed, or with damaged bytes."""
    if rng.random() < 0.5:
        return damaged(rng, data)
    kinds = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    kind = zipfile.ZIP_STORED if rng.random() < 0.6 else kinds[rng.integers(4)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", kind) as new:
        names = old.namelist()
        chosen = rng.integers(len(names))
        for number, name in enumerate(names):
            content = old.read(name)
            if number == chosen:
                content = (damaged_json if name.endswith(".json") else damaged)(rng, content)
            new.writestr(name, content)
    return buffer.getvalue() if rng.random() < 0.8 else damaged(rng, buffer.getvalue())


def damaged_tar(rng, data):
    """A tar with one of its members damaged, renamed or of another type, or with damaged bytes."""
    if rng.random() < 0.4:
        return damaged(rng, data)
    types = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
    types += [tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"?"]
    buffer = io.BytesIO()
    kind = ["w", "w:gz", "w:bz2", "w:xz"][rng.integers(4)]
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=buffer, mode=kind) as new,
    ):
        names = old.getnames()
        chosen = names[rng.integers(len(names))]
        for member in old:
            content = old.extractfile(member).read()
            if member.name == chosen:
                content = damaged(rng, content)
                member.type = types[rng.integers(len(types))]
                member.linkname = "../../etc/passwd"
                member.name = [member.name, "/a/b.png", "../x.png", "", "a" * 300][rng.integers(5)]
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return buffer.getvalue() if rng.random() < 0.8 else damaged(rng, buffer.getvalue())


def odd_parquet(rng, data):
    """A Parquet file with odd columns, labels, images or notes, or with damaged bytes."""
    if rng.random() < 0.5:
        return damaged(rng, data)
    table = parquet.read_table(pa.BufferReader(data))
    columns = {
        "img": [[None] * 4, [b""] * 4, ["text"] * 4, [{"bytes": None}] * 4, [{"bytes": b"x"}] * 4],
        "label": [
            [None] * 4,
            ["a", "b"] * 2,
            [-1] * 4,
            [0.5] * 4,
            [2**40] * 4,
            [True] * 4,
            [[0]] * 4,
        ],
    }
    name = list(columns)[rng.integers(2)]
    values = pa.array(columns[name][rng.integers(len(columns[name]))])
    if rng.random() < 0.5:
        table = table.set_column(table.schema.get_field_index(name), name, values)
    match rng.integers(4):
        case 0:
            table = table.drop_columns([name])
        case 1:
            table = table.append_column("image", values)
    notes = json.loads(table.schema.metadata[b"huggingface"])
    text = nested(rng) if rng.random() < 0.2 else json.dumps(changed(rng, notes))
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({"huggingface": text}), buffer)
    return buffer.getvalue()


def odd_table(rng, data):
    """A table of labels with a line changed, or with damaged bytes."""
    if rng.random() < 0.5:
        return damaged(rng, data)
    lines = data.decode().splitlines()
    odd = ["", ",", "1", "1,2,3", '"', '"1\n",a', "9,a", "1,\x00", "../1,b", "1.png,b", "\ud800,b"]
    lines[rng.integers(len(lines))] = odd[rng.integers(len(odd))]
    return "\r\n".join(lines).encode(errors="surrogatepass")


def odd_torch_file(rng, data):
    """What torch.save() writes, of tensors and values that no state_dict has."""
    import torch

    if rng.random() < 0.4:
        return damaged_zip(rng, data)
    tensors = torch.load(io.BytesIO(data), weights_only=True)
    ones = torch.ones(int(rng.integers(1, 5)))
    odd = [
        *(ones.to_sparse(), ones.expand(7, len(ones)), ones.to(torch.complex64), ones.to("meta")),
        *(torch.quantize_per_tensor(ones, 1.0, 0, torch.qint8), ones.bool(), ones.half(), ones[:0]),
        *(
            ones.to(torch.float8_e4m3fn),
            torch.nn.Parameter(ones),
            torch.tensor(1),
            Trap(),
            ones * 0,
        ),
        *(torch.nested.nested_tensor([ones]), ones.as_strided((9, 9), (0, 0)), "text", None, [], 3),
        *({}, {"a": ones}, ones.to_sparse_csr() if ones.ndim > 1 else ones.int()),
    ]
    value = odd[rng.integers(len(odd))]
    names = list(tensors)
    match rng.integers(4):
        case 0:
            tensors[names[rng.integers(len(names))]] = value
        case 1:
            tensors = value
        case 2:
            tensors = {"state_dict": {"module." + names[0]: value}}
        case 3:
            tensors = {ODD_VALUES[rng.integers(7)]: value, **tensors}
    buffer = io.BytesIO()
    try:
        torch.save(tensors, buffer, _use_new_zipfile_serialization=bool(rng.random() < 0.7))
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return pickle.dumps(str(tensors))
    return buffer.getvalue()


def odd_arrays(rng, data):
    """An .npz file with odd arrays, objects among them."""
    if rng.random() < 0.5:
        return damaged_zip(rng, data)
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file)
    name = list(arrays)[rng.integers(len(arrays))]
    odd = [np.array([Trap()]), np.zeros(0), np.array(1), np.array("a"), arrays[name].astype(">f2")]
    odd += [arrays[name][:-1], arrays[name] * np.nan, np.zeros(3, [("a", "i4")]), arrays[name] - 1]
    arrays[name] = odd[rng.integers(len(odd))]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write_valid_files(root):
    """One valid file of each kind."""
    dataset = load_dataset(DATA)
    run = RunFolder.create(root / "run", CONFIG, dataset, "cd" * 32)
    spec = CONFIG.spec(dataset.num_classes)
    weights = initial_weights(spec, Recipe(seed=3))
    run.write_json("environment.json", {"packages": {"torch": "2"}, "cpu": {"model": "a"}})
    run.write_history(
        History(epochs=[epoch_record()], step_loss=[2.5, 2.0], step_learning_rate=[1] * 2)
    )
    run.write_result(run_result())
    run.write_weights(weights, spec)
    run.write_checkpoint({f"weights/{name}": a for name, a in weights.items()}, {"epoch": 1})
    run.write_predictions(
        Predictions(
            probabilities=np.full((10, 10), 0.1, np.float32),
            labels=dataset.test.labels,
            sample_indices=np.arange(3),
            sample_images=dataset.test.images[:3],
        )
    )
    info = WeightsInfo(variant="cifar", num_classes=10, input_size=32, width=1 / 64)
    save_weights(root / "a.safetensors", weights, info)
    for name in ("a.pt", "ours.pt"):
        get_framework("torch").write_checkpoint(root / name, spec, weights)
    for name in ("a.keras", "a.weights.h5"):
        get_framework("tensorflow").write_checkpoint(root / name, spec, weights)
    for name in ("a.keras", "ours.pt"):
        store_info(root / name, info)
    write_foreign_files(root, weights)
    write_request(root, ExplainRequest(config=CONFIG, seeds=(0, 1)))
    series = ParityRecord(request={"variant": "cifar"}, environment={}, checks=(HELD,))
    write_record(root, series)
    measured = [entry_of(one, EQUAL) for one in (pair().first, side("tensorflow", 0.1, 0.2))]
    write_recording(root, {"cpu": "a processor"}, measured, [(pair(), EQUAL)])
    record = ExperimentRecord(
        experiment="R0-torch", budget="quick", seed=0, label="", mismatches=()
    )
    record.write(root / "experiment.json")
    (root / "names.json").write_text(json.dumps({"conv1": "conv"}))
    cached_dataset(KEY, images)
    (root / "claims.csv").write_text("".join(CLAIMS.open().readlines()[:30]))
    (root / "recipe.json").write_text(json.dumps(Recipe().to_dict()))
    (root / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    write_images(root)
    for name in ("pytest.json", "valid_pytest.json"):
        (root / name).write_text(json.dumps(PYTEST))
    np.save(root / "features.npy", np.zeros((4, 3), np.float32))
    (root / "valid.json").write_bytes((root / "bench.json").read_bytes())
    return root


def write_images(root):
    """Images in every format, and datasets of them in every form."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    for kind in KINDS:
        Image.fromarray(pixels).save(root / f"image.{kind}", kind)
    with zipfile.ZipFile(root / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"):
            archive.writestr(name, (root / "image.png").read_bytes())
    for name, mode in (("images.tar", "w"), ("images.tgz", "w:gz")):
        with tarfile.open(root / name, mode) as archive:
            for part in ("train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"):
                archive.add(root / "image.png", part)
    for kind, content in UNWRITTEN.items():
        (root / f"image.{kind}").write_bytes(content)
    (root / "kaggle" / "train").mkdir(parents=True)
    for number in range(1, 5):
        (root / "kaggle" / "train" / f"{number}.png").write_bytes((root / "image.png").read_bytes())
    (root / "kaggle" / "trainLabels.csv").write_text("id,label\n1,a\n2,b\n3,a\n4,b\n")
    write_parquet(root / "hf", (root / "image.png").read_bytes())
    write_cifar(root)


def write_parquet(folder, image):
    """Two parts of four images in two classes."""
    folder.mkdir()
    features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    table = pa.table({"img": [{"bytes": image, "path": "0.png"}] * 4, "label": [0, 1, 0, 1]})
    notes = {"huggingface": json.dumps({"info": {"features": features}})}
    for part in ("train", "test"):
        parquet.write_table(table.replace_schema_metadata(notes), folder / f"{part}.parquet")


def write_cifar(root):
    """A file of the python version with two images, and an archive with only that in it."""
    content = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    (root / "data_batch_1").write_bytes(pickle.dumps(content, 3))
    with tarfile.open(root / "download (1)", "w:gz") as archive:
        archive.add(root / "data_batch_1", "cifar-10-batches-py/data_batch_1")


def fill_cifar(path):
    """Reads a file of CIFAR-10 as after its checksum matched."""
    place = Split(images=np.zeros((2, 32, 32, 3), np.uint8), labels=np.zeros(2, np.int64))
    _fill(place, CIFAR10_PYTHON, path.read_bytes())


def read_folder_of(path):
    """The dataset in the folder of a file, as `--data-dir` finds it."""
    load_dataset(DataConfig(data_dir=path.parent))


def write_foreign_files(root, weights):
    """The same weights as other programs keep them."""
    import torch

    foreign = {f"net.{name}": torch.from_numpy(array) for name, array in weights.items()}
    content = {"epoch": 3, "state_dict": foreign, "best": np.float64(0.7), "rng": np.arange(3)}
    torch.save(content, root / "a.ckpt")
    torch.save(content | {"ema": foreign}, root / "old.pth", _use_new_zipfile_serialization=False)
    half = {f"net.{name}": array.astype(np.float16) for name, array in weights.items()}
    write_safetensors(root / "foreign.safetensors", half, {"format": "pt"})
    with h5py.File(root / "a.h5", "w") as file:  # as Keras 2 wrote it
        layers = [name for name in weights if name.endswith(".weight")]
        file.attrs["layer_names"] = [name.removesuffix(".weight") for name in layers]
        file.attrs["model_config"] = json.dumps({"config": {"name": "cifar", "layers": []}})
        for name, array in weights.items():
            layer, _, short = name.partition(".")
            kind = "kernel" if short == "weight" else short
            file[f"{layer}/{layer}/{kind}:0"] = (
                array.T if array.ndim < 4 else array.transpose(2, 3, 1, 0)
            )


def read_file(path):
    """The weights of a file of any kind, as `alexnet convert` finds and reads them."""
    find_pretrained(str(path), "cifar", 32)
    states_it = path.name in ("a.keras", "a.safetensors", "ours.pt")
    read_network(path, Hints() if states_it else HINTS)


def values_of(path):
    """The object in a file, or none."""
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def parse_flags(path):
    """The values of a recipe as flags of the command line."""
    flags = [
        f"--recipe.{name.replace('_', '-')}={value}" for name, value in values_of(path).items()
    ]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(SystemExit):
        parse(["train", *flags])


def of_run(read):
    """A reader of a part of the run that a file belongs to."""
    return lambda path: read(RunFolder.open(path.parent))


def command(*words):
    """A reader that is a command of the command line; PATH among its words is the file."""

    def run(path):
        said = io.StringIO()
        names = {"PATH": path, "RUN": path.parent, "VALID": path.with_name("valid.json")}
        names["PYTEST"] = path.with_name("valid_pytest.json")
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            code = main([str(names.get(word, word)) for word in words])
        if "error: unexpected" in said.getvalue() or said.getvalue().count("error:") > 1:
            raise RuntimeError(said.getvalue())
        if code:
            raise RefusedError

    return run


class RefusedError(AlexNetError):
    """What the command line has printed as one line."""


READERS = [
    ("run/run.json", damaged_json, command("evaluate", "RUN")),
    ("run/environment.json", damaged_json, command("evaluate", "RUN")),
    ("run/history.json", damaged_json, command("evaluate", "RUN")),
    ("run/result.json", damaged_json, command("evaluate", "RUN")),
    ("run/predictions.npz", odd_arrays, command("evaluate", "RUN")),
    ("bench.json", damaged_json, command("bench", "compare", "PATH", "VALID")),
    ("run/run.json", damaged_json, of_run(lambda run: (run.config, run.dataset))),
    ("run/environment.json", damaged_json, of_run(lambda run: run.environment)),
    ("run/history.json", damaged_json, of_run(lambda run: run.history)),
    ("run/result.json", damaged_json, of_run(lambda run: run.result)),
    ("run/predictions.npz", odd_arrays, of_run(lambda run: run.read_predictions())),
    ("run/checkpoint.safetensors", damaged_safetensors, of_run(checkpoint_weights)),
    ("run/weights.safetensors", damaged_safetensors, of_run(lambda run: run.read_weights())),
    ("a.safetensors", damaged_safetensors, read_file),
    ("foreign.safetensors", damaged_safetensors, read_file),
    ("a.pt", odd_torch_file, read_file),
    ("ours.pt", odd_torch_file, read_file),
    ("a.ckpt", damaged_zip, read_file),
    ("old.pth", damaged, read_file),
    ("a.keras", damaged_zip, read_file),
    ("a.weights.h5", damaged, read_file),
    ("a.h5", damaged, read_file),
    ("plan.json", damaged_json, lambda path: read_request(path.parent)),
    ("parity.json", damaged_json, read_record),
    ("bench.json", damaged_json, read_recording),
    ("experiment.json", damaged_json, ExperimentRecord.read),
    ("names.json", damaged_json, lambda path: parse_names(str(path))),
    ("claims.csv", damaged, read_claims),
    ("recipe.json", damaged_json, lambda path: Recipe.from_dict(values_of(path))),
    ("recipe.json", damaged_json, parse_flags),
    ("config.json", damaged_json, lambda path: RunConfig.from_dict(values_of(path))),
    ("images.zip", damaged_zip, load_image_folder),
    ("images.tar", damaged_tar, load_image_folder),
    ("images.tgz", damaged_tar, load_image_folder),
    ("download (1)", damaged_tar, lambda path: load_dataset(DataConfig(data_dir=path))),
    ("data_batch_1", damaged, fill_cifar),
    ("kaggle/trainLabels.csv", odd_table, read_folder_of),
    ("hf/train.parquet", odd_parquet, read_folder_of),
    ("pytest.json", damaged_json, command("bench", "compare", "PATH", "PYTEST")),
    ("pytest.json", damaged_json, read_recording),
    *(
        (f"image.{kind}", damaged, lambda path: decode_image(path, where="a"))
        for kind in (*KINDS, *UNWRITTEN)
    ),
    (f"cache/{KEY}.safetensors", damaged_safetensors, lambda _: cached_dataset(KEY, images)),
    ("features.npy", damaged, lambda path: is_whole(path, (4, 3))),
]
"""A file, what damages it, and what reads it."""


def images():
    return load_dataset(DATA)


def outcome_of(root, number):
    """What a reader does with an input: 'read', 'refused', or the name of what went wrong."""
    rng = np.random.default_rng([16, number])
    name, damage, read = READERS[number % len(READERS)]
    path = root / name
    valid = path.read_bytes()
    path.write_bytes(damage(rng, valid))
    try:
        read(path)
    except (AlexNetError, OSError) as error:
        str(error).encode(errors="backslashreplace")
        return "refused"
    except Exception as error:  # noqa: BLE001 - what the command line would call unexpected
        return f"{name} (input {number}): {type(error).__name__}: {str(error)[:200]}"
    finally:
        path.write_bytes(valid)
    return "read"


def peak_memory_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_fuzz_campaign(tmp_path, monkeypatch, request):
    before = peak_memory_bytes()  # tests that came earlier in this process may have needed more
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(tmp_path / "cache"))
    Trap.path = tmp_path / "sprung"
    root = write_valid_files(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count = request.config.getoption("--fuzz-inputs")
        outcomes = Counter(outcome_of(root, number) for number in range(count))
    read, refused = outcomes.pop("read", 0), outcomes.pop("refused", 0)
    request.config.get_terminal_writer().line(f"{read} inputs were read, {refused} refused")
    assert not outcomes, "\n".join(outcomes)
    assert refused > count / 4  # otherwise the damage would be too small to mean anything
    assert not Trap.path.exists()
    assert peak_memory_bytes() < max(MOST_MEMORY_BYTES, 1 + before)
