"""Differences of two user models that only training shows: dropout, noise, momentum, penalties."""

from collections.abc import Iterator, Sequence

from alexnet_impl.frameworks.user_model import Operation
from alexnet_impl.ports.hypotheses import Difference
from alexnet_impl.ports.pairing import LayerPair
from alexnet_impl.ports.session import PairSession

FORMS = {
    "units": "",
    "maps": " of whole maps",
    "alpha": " of SELU's kind",
    "branches": " of whole branches",
}


def training_differences(session: PairSession) -> list[Difference]:
    """Compare what the models declare for training: evaluation shows none of it."""
    after = {name: facts.after for name, facts in session.facts.items()}
    spans = [
        *((f"before {p.label}", p.torch.before, p.tensorflow.before) for p in session.pairs),
        ("after the last layer", after["torch"], after["tensorflow"]),
    ]
    found = [each for span in spans for each in _operation_differences(*span)]
    for pair in session.pairs:
        found += _layer_differences(pair)
    return found


def training_notes(session: PairSession) -> tuple[str, ...]:
    """Differences that no argument changes, and what was done to the models."""
    notes = [note for facts in session.facts.values() for note in facts.notes]
    if any("momentum" in pair.torch.training for pair in session.pairs):
        notes.append(
            "in training a batch normalisation's running variance differs by n / (n - 1), for n "
            "values in a batch and channel: PyTorch's estimate is unbiased, Keras's is not"
        )
    return tuple(notes)


def _operation_differences(
    where: str, ours: Sequence[Operation], theirs: Sequence[Operation]
) -> Iterator[Difference]:
    """Dropout and noise between two layers."""
    for kind, said in (("dropout", _dropout), ("noise", _noise)):
        both = [[said(one) for one in chain if _acts(one, kind)] for chain in (ours, theirs)]
        if both[0] != both[1]:
            words = [" and ".join(each) or "none" for each in both]
            yield Difference(
                where=f"{kind} {where}",
                side="tensorflow",
                what=f"in training {{}} were {words[1]}, where PyTorch has {words[0]}",
                remedy="use the same rates at the same places"
                if kind == "noise" or _rates(ours) != _rates(theirs)
                else "use SpatialDropout2D for nn.Dropout2d, and Dropout for nn.Dropout",
            )


def _acts(operation: Operation, kind: str) -> bool:
    return operation.kind == kind and bool(operation.numbers.get("rate", 0.5))


def _rates(chain: Sequence[Operation]) -> list[float]:
    return [float(one.numbers.get("rate", 0.5)) for one in chain if _acts(one, "dropout")]


def _dropout(operation: Operation) -> str:
    form = FORMS[operation.numbers.get("form", "units")]
    return f"{operation.numbers.get('rate', 0.5):g}{form}"


def _noise(operation: Operation) -> str:
    return f"{operation.numbers['form']} of {operation.numbers['rate']:g}"


def _layer_differences(pair: LayerPair) -> Iterator[Difference]:
    ours, theirs = pair.torch.training, pair.tensorflow.training
    first, second = ours.get("momentum"), theirs.get("momentum")

    def keras(what: str, remedy: str) -> Difference:
        return Difference(where=pair.label, side="tensorflow", what=what, remedy=remedy)

    if second is not None and (first is None or abs(first - second) > ROUNDING):
        has = "the mean over all batches" if first is None else f"{first:g} of the new ones"
        yield keras(
            f"in training the running statistics of {{}} took {second:g} of the new ones, where "
            f"PyTorch's take {has}",
            "give BatchNormalization momentum="
            f"{1 - (0.1 if first is None else first):g}: Keras's is 1 - PyTorch's",
        )
    for part, said in theirs.get("penalties", {}).items():
        yield keras(
            f"in training the loss had a term {said} of the {part} of {{}}",
            "remove it, or give PyTorch the same: for SGD, weight_decay is twice the factor of L2",
        )
    for part, said in theirs.get("constraints", {}).items():
        yield keras(
            f"in training the {part} of {{}} were held by {said} after every update",
            "remove it, or do the same in PyTorch after every optimizer step",
        )
    frozen = tuple(set(layer.frozen) & set(pair.shared) for layer in (pair.torch, pair.tensorflow))
    for short in sorted(frozen[0] ^ frozen[1]):
        side = "torch" if short in frozen[0] else "tensorflow"
        remedy = "set requires_grad=True" if side == "torch" else "set trainable=True"
        yield Difference(
            where=pair.label,
            side=side,
            what=f"the {short} of {{}} were frozen",
            remedy=f"{remedy}, or freeze both",
        )


ROUNDING = 1e-6
"""Momentum of Keras is 1 - PyTorch's, which rounds."""
