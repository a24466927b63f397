"""Checks of parameter counts against the Spec, and of the memory that arrays take."""

import functools
from collections.abc import Iterator, Sequence

from alexnet_impl.network.spec import trace
from alexnet_impl.network.variants import build_spec, get_variant
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_CLASSES, Finding
from alexnet_impl.reproduction.claims.claim import Claim

FLOAT32_BYTES = 4


def parameter_totals(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that printed parameter counts are those that follow from the architecture."""
    for claim in claims:
        if claim.quantity != "num_params":
            continue
        counts = expected_counts(claim)
        printed = round(claim.value)
        if printed not in counts.values():
            yield Finding(
                check="parameter_totals",
                claims=(claim,),
                reason=f"{claim.what} is given as {claim.printed}; the architecture has "
                + " or ".join(f"{n:,} with {k} classes" for k, n in counts.items()),
            )
        elif counts[NUM_CLASSES] != printed:
            outputs = next(k for k, n in counts.items() if n == printed)
            about = get_variant(EXPERIMENTS[claim.experiment].variant).about
            yield Finding(
                check="parameter_totals",
                kind="explained",
                claims=(claim,),
                reason=f"{claim.printed} parameters need {outputs} outputs, not the dataset's "
                f"{NUM_CLASSES} ({counts[NUM_CLASSES]:,}), and this network: {about}; the report "
                "says neither",
            )


def expected_counts(claim: Claim) -> dict[int, int]:
    """Parameters of the claim's layer, or of the network, by number of classes."""
    variant = EXPERIMENTS[claim.experiment].variant
    return {
        num_classes: _layer_counts(variant, num_classes).get(claim.of, 0)
        for num_classes in (NUM_CLASSES, *get_variant(variant).published_num_params)
    }


@functools.cache
def _layer_counts(variant: str, num_classes: int) -> dict[str, int]:
    """Parameters of each layer by name, and of the whole network under the empty name."""
    traced = trace(build_spec(variant, num_classes=num_classes))
    return {step.layer.name: step.num_params for step in traced.layers} | {"": traced.num_params}


def resized_bytes(num_images: int, input_size: int) -> int:
    """Bytes that this number of RGB images of this size takes as float32."""
    return num_images * input_size**2 * 3 * FLOAT32_BYTES


def resized_text(num_images: int, input_size: int) -> str:
    """The product of resized_bytes() written out."""
    gigabytes = resized_bytes(num_images, input_size) / 1e9
    return f"{num_images:,} x {input_size} x {input_size} x 3 x 4 bytes = {gigabytes:.1f} GB"
