"""Minimal failing pairs: the two files, which are run here, give the models' own difference."""

import runpy
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from alexnet_impl.cli import main
from alexnet_impl.frameworks import get_framework
from alexnet_impl.parity.record import read_record
from alexnet_impl.ports import minimal_pair_proof as proof
from alexnet_impl.ports.minimal_pair import ARRAYS, FILES, PairDraft, minimal_pair
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.session import open_session
from alexnet_impl.ports.span_hypotheses import Span
from alexnet_impl.ports.user_pair import compare_models
from alexnet_impl.processes import launch
from alexnet_impl.report.parity.terminal import minimal_pair_line

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow

REQUEST = PairRequest(torch="net", tensorflow="port")
HEAD = "nn.Conv2d(3, 4, 3, padding=1)", "L.Conv2D(4, 3, padding='same')"
ENDS = "nn.Conv2d(4, 2, 1)", "L.Conv2D(2, 1)"
FLAT = "nn.Flatten(), nn.Linear(64, 3)", "L.Flatten(), L.Dense(3)"


def _between(ours, theirs, ends=ENDS):
    """Two models with operations between a convolution and a last layer."""
    return tuple(f"{HEAD[i]}, {(ours, theirs)[i]}, {ends[i]}" for i in range(2))


PAIRS = {
    "padding": ("nn.Conv2d(3, 4, 3, stride=2, padding=1)", "L.Conv2D(4, 3, 2, padding='same')"),
    "shapes": ("nn.Conv2d(3, 4, 3, padding=1)", "L.Conv2D(4, 3)"),
    "dilation": ("nn.Conv2d(3, 4, 3, dilation=2, padding=2)", HEAD[1]),
    "bias": (HEAD[0], "L.Conv2D(4, 3, padding='same', use_bias=False)"),
    "groups": (
        "nn.Conv2d(3, 3, 3, 2, padding=1, groups=3), nn.Conv2d(3, 2, 1)",
        "L.DepthwiseConv2D(3, 2, padding='same'), L.Conv2D(2, 1)",
    ),
    "padding layer": (HEAD[0], "L.ZeroPadding2D(((2, 0), (0, 2))), L.Conv2D(4, 3)"),
    "epsilon": (
        f"{HEAD[0]}, nn.BatchNorm2d(4)",
        f"{HEAD[1]}, L.BatchNormalization(epsilon=1e-3)",
    ),
    "dense bias": (f"{HEAD[0]}, {FLAT[0]}", f"{HEAD[1]}, L.Flatten(), L.Dense(3, use_bias=False)"),
    "flattened pooling": _between(
        "nn.ReLU(), nn.MaxPool2d(3, 1, 1)",
        "L.ReLU(), L.AveragePooling2D(3, 1, padding='same'), L.Dropout(0.5)",
        FLAT,
    ),
    "counted zeros": _between("nn.AvgPool2d(3, 1, 1)", "L.AveragePooling2D(3, 1, 'same')"),
    "uncounted": _between(
        "nn.AvgPool2d(3, 1, 1, count_include_pad=False)", "L.MaxPooling2D(3, 1, 'same')"
    ),
    "ceil": _between("nn.MaxPool2d(3, 2, ceil_mode=True)", "L.MaxPooling2D(3, 2)"),
    "zeros": _between(
        "nn.ZeroPad2d(1), nn.MaxPool2d(2)",
        "L.ZeroPadding2D(((0, 2), (0, 2))), L.MaxPooling2D(2)",
    ),
    "global": _between("nn.AdaptiveAvgPool2d(1)", "L.GlobalMaxPooling2D(keepdims=True)"),
    "slope": _between("nn.LeakyReLU()", "L.LeakyReLU()"),
    "gelu": _between("nn.GELU(approximate='tanh')", "L.Activation('gelu')"),
    "elu": _between("nn.ELU(0.5)", "L.ELU()"),
    "missing": _between("nn.Hardswish()", "L.Identity()"),
    "softmax's axis": _between("nn.Softmax(2)", "L.Softmax()"),
    "corners": _between(
        "nn.Upsample((8, 8), mode='bilinear', align_corners=True)",
        "L.UpSampling2D(2, interpolation='bilinear')",
    ),
    "first": (f"nn.ReLU(), {HEAD[0]}", f"L.ReLU(negative_slope=0.1), {HEAD[1]}"),
    "last": (f"{HEAD[0]}, {FLAT[0]}", f"{HEAD[1]}, {FLAT[1]}, L.Softmax()"),
    "lrn": _between("nn.LocalResponseNorm(3, alpha=0.1)", "L.Identity()"),
}
"""Mistakes: the layers of an nn.Sequential and of a keras.Sequential for images of 4x4 pixels."""
UNWRITABLE = {
    "lambda": _between("nn.ReLU()", "L.Lambda(lambda x: 2 * x)"),
    "permute": _between("nn.ReLU()", "L.Permute((3, 1, 2))", FLAT),
    "padding_mode": _between("nn.ReflectionPad2d(1)", "L.ZeroPadding2D(1)"),
}
"""Mistakes in operations that the files cannot hold, by words of the reason."""
REASONS = {"lambda": "lambda", "permute": "permute in Keras", "padding_mode": "pad in PyTorch"}


@pytest.fixture
def build():
    """Both models of a pair, in this process; their types are the usual ones again afterwards."""
    for name in ("torch", "tensorflow"):
        get_framework(name)
    import keras
    import torch

    from alexnet_impl.frameworks.tensorflow.user_model import (
        TensorflowUserModel,
    )
    from alexnet_impl.frameworks.torch.user_model import TorchUserModel

    def pair(ours, theirs):
        torch.manual_seed(0)
        names = {"nn": torch.nn, "L": keras.layers}
        layers = [eval(f"[{text}]", names) for text in (ours, theirs)]  # noqa: S307 - ours
        port = keras.Sequential([keras.Input((4, 4, 3)), *layers[1]])
        return TorchUserModel(torch.nn.Sequential(*layers[0])), TensorflowUserModel(port)

    policy = keras.config.dtype_policy()
    yield pair
    keras.config.set_dtype_policy(policy)


def executed(draft, folder, capsys):
    """What the second file prints after both were run in this process."""
    np.savez(folder / ARRAYS, **draft.arrays)
    for framework, name in FILES.items():
        (folder / name).write_text(draft.texts[framework])
        capsys.readouterr()
        runpy.run_path(str(folder / name))
    return capsys.readouterr().out.strip()


def session_of(models):
    """A comparison in float32 up to the values of the layers; no check is made."""
    session = open_session(*models, REQUEST)
    session.weights = session.sides["torch"].weights()
    session.sides["tensorflow"].set_weights(session.weights)
    session.values = session.each(lambda side: side.forward(session.images))
    return session


@fast
def test_layer_is_written_with_the_arguments_of_both_models(build, tmp_path, capsys):
    session = session_of(build(*PAIRS["padding"]))
    session.mismatch = session.pairs[0]
    draft = minimal_pair(session, "layer 0")
    assert "    nn.Conv2d(3, 1, (3, 3), stride=(2, 2), padding=(1, 1)),\n" in draft.texts["torch"]
    conv = 'layers.Conv2D(1, (3, 3), strides=(2, 2), padding="same"),'
    assert f"    {conv}\n" in draft.texts["tensorflow"]
    shapes = {name: array.shape for name, array in draft.arrays.items()}
    assert shapes == {"input": (1, 3, 4, 4), "weight": (1, 3, 3, 3), "bias": (1,)}
    said = executed(draft, tmp_path, capsys)
    assert float(said.removeprefix(proof.ANSWER)) == pytest.approx(draft.difference, rel=1e-5)


@fast
def test_operations_between_two_layers_are_written(build, tmp_path, capsys):
    session = session_of(build(*PAIRS["flattened pooling"]))
    last = session.pairs[1]
    session.mismatch = Span(
        before="0", after=last.name, ours=last.torch.before, theirs=last.tensorflow.before
    )
    draft = minimal_pair(session, "the operations between layer 0 and layer 4 (PyTorch: ...)")
    ours = "    nn.ReLU(),\n    nn.MaxPool2d((3, 3), (1, 1), padding=(1, 1)),\n    nn.Flatten(),\n"
    assert ours in draft.texts["torch"]
    pooling = '    layers.AveragePooling2D((3, 3), strides=(1, 1), padding="same"),\n])'
    assert f'    layers.Activation("relu"),\n{pooling}' in draft.texts["tensorflow"]
    assert "between layer 0 and layer 4." in draft.texts["tensorflow"]  # without the operations
    said = executed(draft, tmp_path, capsys)
    assert float(said.removeprefix(proof.ANSWER)) == pytest.approx(draft.difference, rel=1e-5)


@fast
def test_files_name_neither_this_package_nor_the_models(build):
    session = session_of(build(*PAIRS["padding"]))
    session.mismatch = session.pairs[0]
    texts = minimal_pair(session, "layer 0").texts
    imports = {
        line.split()[1]
        for text in texts.values()
        for line in text.splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imports == {"pathlib", "numpy", "torch", "keras"}


@slow
@pytest.mark.parametrize("name", PAIRS)
def test_files_give_the_difference_of_the_models(build, name, tmp_path, capsys):
    drafts = []
    record = compare_models(*build(*PAIRS[name]), REQUEST, on_mismatch=drafts.append)
    (draft,) = drafts
    assert draft.reason == ""
    assert draft.where in [check.where for check in record.failures]
    said = executed(draft, tmp_path, capsys)
    if draft.answer:
        assert (said, draft.difference) == (draft.answer, np.inf)
    else:
        # Keras resizes in float32
        expected = pytest.approx(draft.difference, rel=1e-5 if name == "corners" else 1e-9)
        assert float(said.removeprefix(proof.ANSWER)) == expected


@slow
@pytest.mark.parametrize("name", UNWRITABLE)
def test_operation_that_the_files_cannot_hold_is_named(build, name):
    drafts = []
    compare_models(*build(*UNWRITABLE[name]), REQUEST, on_mismatch=drafts.append)
    (draft,) = drafts
    assert not draft.texts
    assert REASONS[name] in draft.reason


@slow
def test_models_that_agree_or_differ_in_weights_alone_have_no_minimal_pair(build):
    models = build(*(f"{HEAD[i]}, {FLAT[i]}" for i in range(2)))
    drafts = []
    assert compare_models(*models, REQUEST, on_mismatch=drafts.append).holds
    session = session_of(models)
    turned = session.weights["0.weight"].swapaxes(2, 3)
    session.sides["tensorflow"].set_weights({"0.weight": turned})
    record = compare_models(*models, REQUEST, on_mismatch=drafts.append)
    assert [check.name for check in record.failures] == ["weights"]
    assert drafts == []


# --- the proof ------------------------------------------------------------------------------------


DRAFT = PairDraft(
    where="conv1",
    texts={"torch": "print('output')", "tensorflow": "print('largest difference: 0.43')"},
    arrays={"input": np.zeros((1, 2))},
    difference=0.43,
)


@fast
def test_files_that_give_the_difference_are_kept_with_their_command(tmp_path):
    proven = proof.prove_draft(DRAFT, tmp_path)
    assert (proven.reproduced, proven.reason) == (0.43, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(proven.files)
    assert [word for word in proven.command.split() if word.endswith(".py")] == [*FILES.values()]


@fast
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"difference": 0.44}, "the files gave 'largest difference: 0.43'"),
        (
            {"difference": np.inf, "answer": "shapes differ: (1,) (2,)"},
            "models 'shapes differ: (1,)",
        ),
        ({"texts": {"torch": "1 / 0", "tensorflow": ""}}, "ZeroDivisionError: division by zero"),
        ({"texts": {"torch": "", "tensorflow": ""}}, "the files gave ''"),
        ({"reason": "lambda in Keras is unknown", "texts": {}}, "lambda in Keras"),
    ],
)
def test_files_that_do_not_give_it_are_deleted_and_said(tmp_path, changes, reason):
    proven = proof.prove_draft(replace(DRAFT, **changes), tmp_path)
    assert reason in proven.reason
    assert (proven.files, proven.command) == ((), "")
    assert not list(tmp_path.iterdir())


@fast
def test_shapes_that_differ_as_the_models_do_are_a_proof(tmp_path):
    said = "shapes differ: (1, 2) (1, 3)"
    texts = DRAFT.texts | {"tensorflow": f"print('{said}')"}
    draft = replace(DRAFT, texts=texts, difference=np.inf, answer=said)
    assert proof.prove_draft(draft, tmp_path).reproduced == np.inf


@fast
def test_file_that_does_not_end_is_ended_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "SCRIPT_S", 0.1)
    texts = DRAFT.texts | {"torch": "import time\ntime.sleep(60)"}
    proven = proof.prove_draft(replace(DRAFT, texts=texts), tmp_path)
    assert proven.reason == "torch: mismatch_torch.py took more than 0.1 s"


@fast
def test_missing_interpreter_is_said_and_ends_nothing(tmp_path):
    proven = proof.prove_draft(DRAFT, tmp_path, {"torch": "/no/python"})
    assert proven.reason.startswith("/no/python: cannot be started")
    assert not list(tmp_path.iterdir())


@slow
def test_wrong_stride_in_a_file_is_noticed(build, tmp_path):
    session = session_of(build(*PAIRS["padding"]))
    session.mismatch = session.pairs[0]
    draft = minimal_pair(session, "layer 0")
    assert proof.prove_draft(draft, tmp_path).reason == ""
    wrong = draft.texts["torch"].replace("stride=(2, 2)", "stride=(1, 1)")
    broken = draft.texts | {"torch": wrong}
    proven = proof.prove_draft(replace(draft, texts=broken), tmp_path)
    assert f"and the models '{proof.ANSWER}{draft.difference:.3g}'" in proven.reason
    assert not list(tmp_path.iterdir())


@slow
def test_command_writes_the_pair_proves_it_and_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[2] / "docs" / "examples" / "port")
    folder = tmp_path / "a folder"
    flags = ["--torch", "nets:net", "--tensorflow", "port:first_draft", "--output", str(folder)]
    assert main(["parity", *flags]) == 1
    lines = capsys.readouterr().out.splitlines()
    pair = read_record(folder).minimal_pair
    assert pair.where == "features.0 (conv1 in Keras)"
    assert pair.reproduced == pytest.approx(pair.difference, rel=1e-5)
    assert {*pair.files} < {path.name for path in folder.iterdir()}
    place = lines.index(minimal_pair_line(pair))
    assert pair.command in unescape((folder / "parity.html").read_text(encoding="utf-8"))
    command = ["sh", "-c", lines[place + 1]]
    shell = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines()[-1] == f"{proof.ANSWER}{pair.reproduced}"
