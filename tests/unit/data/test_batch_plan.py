import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_impl.data.batches import (
    Batch,
    BatchPlan,
    chain_digest,
    epoch_batches,
    epoch_gather_indices,
    eval_batches,
    num_batches,
    pick,
)
from alexnet_impl.data.dataset import Split
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

SIZE = 6


def make_split(num_images: int) -> Split:
    """Random images; the label is the image's own number."""
    images = np.random.default_rng(1).integers(0, 256, (num_images, SIZE, SIZE, 3), np.uint8)
    return Split(images=images, labels=np.arange(num_images))


def read(split: Split, plan: BatchPlan, epoch: int = 0, start: int = 0) -> list[Batch]:
    return list(epoch_batches(split, plan, epoch, start))


def all_labels(batches: list[Batch]) -> list[int]:
    return [int(label) for batch in batches for label in batch.labels]


plans = st.builds(
    BatchPlan,
    global_batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    shuffle=st.booleans(),
    flip=st.booleans(),
    alternate_flips=st.booleans(),
    crop_padding=st.integers(0, 3),
)


@given(plans, st.integers(1, 60), st.integers(0, 5))
def test_epoch_gives_every_image_exactly_once(plan, num_images, epoch):
    batches = read(make_split(num_images), plan, epoch)
    assert sorted(all_labels(batches)) == list(range(num_images))
    assert len(batches) == num_batches(plan, num_images)
    assert all(len(batch) == plan.global_batch_size for batch in batches[:-1])


@given(plans, st.integers(1, 60), st.integers(0, 3), st.data())
def test_indices_of_held_images_are_the_batches(plan, num_images, epoch, data):
    split = make_split(num_images)
    start = data.draw(st.integers(0, num_batches(plan, num_images)))
    indices = epoch_gather_indices(split, plan, epoch, start)
    for picked, batch in zip(indices, read(split, plan, epoch, start), strict=True):
        found = pick(split.images, picked, plan.crop_padding)
        np.testing.assert_array_equal(found.images, batch.images)
        np.testing.assert_array_equal(found.labels, batch.labels)


def test_digest_of_indices_tells_every_array():
    split = make_split(8)
    plan = BatchPlan(global_batch_size=8, seed=0, flip=True, crop_padding=1)
    (indices,) = epoch_gather_indices(split, plan, 0)
    digests = {chain_digest("", indices), chain_digest("x", indices)}
    for name in ("indices", "rows", "columns", "labels"):
        digests.add(chain_digest("", replace(indices, **{name: getattr(indices, name)[::-1]})))
    assert len(digests) == 6


@given(st.integers(1, 10), st.integers(10, 40))
def test_drop_last_leaves_out_only_the_partial_batch(batch_size, num_images):
    split = make_split(num_images)
    kept = read(split, BatchPlan(global_batch_size=batch_size, seed=3, drop_last=True))
    every = read(split, BatchPlan(global_batch_size=batch_size, seed=3))
    assert {len(batch) for batch in kept} == {batch_size}
    assert len(kept) == num_images // batch_size
    assert all_labels(kept) == all_labels(every)[: len(kept) * batch_size]


@given(plans, st.integers(1, 60), st.data())
def test_batches_are_the_same_from_any_start(plan, num_images, data):
    split = make_split(num_images)
    every = read(split, plan, epoch=2)
    start = data.draw(st.integers(0, len(every)))
    rest = read(split, plan, epoch=2, start=start)
    assert len(rest) == len(every) - start
    for expected, batch in zip(every[start:], rest, strict=True):
        np.testing.assert_array_equal(batch.images, expected.images)
        np.testing.assert_array_equal(batch.labels, expected.labels)


def is_a_view_of_image(crop, image, padding: int, *, flip: bool) -> bool:
    """Whether some offset (and mirroring) of the padded image gives this crop; by a slow loop."""
    padded = np.zeros((SIZE + 2 * padding, SIZE + 2 * padding, 3), np.uint8)
    padded[padding : padding + SIZE, padding : padding + SIZE] = image
    for y in range(2 * padding + 1):
        for x in range(2 * padding + 1):
            window = padded[y : y + SIZE, x : x + SIZE]
            candidates = [window, window[:, ::-1]] if flip else [window]
            if any((crop == candidate).all() for candidate in candidates):
                return True
    return False


@given(plans, st.integers(1, 20))
def test_each_image_is_a_crop_of_itself_perhaps_mirrored(plan, num_images):
    split = make_split(num_images)
    for batch in read(split, plan):
        assert batch.images.flags.c_contiguous
        for pixels, label in zip(batch.images, batch.labels, strict=True):
            image = split.images[label]
            assert is_a_view_of_image(pixels, image, plan.crop_padding, flip=plan.flip)


def test_crops_and_flips_equal_the_documented_draws():
    split, seed, epoch = make_split(10), 7, 4
    plan = BatchPlan(global_batch_size=4, seed=seed, flip=True, crop_padding=2)
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, epoch]).spawn(3)]
    order = streams[0].permutation(10)
    flips = streams[1].integers(0, 2, 10, dtype=np.uint8)
    offsets = streams[2].integers(0, 5, (10, 2))
    expected = []
    for place, index in enumerate(order):
        y, x = offsets[place]
        padded = np.pad(split.images[index], ((2, 2), (2, 2), (0, 0)))
        crop = padded[y : y + SIZE, x : x + SIZE]
        expected.append(crop[:, ::-1] if flips[place] else crop)
    images = np.concatenate([batch.images for batch in read(split, plan, epoch)])
    np.testing.assert_array_equal(images, np.stack(expected))


def test_flips_and_crops_reach_every_case():
    split = make_split(400)
    offsets_seen = set()
    plan = BatchPlan(global_batch_size=400, seed=0, crop_padding=1, shuffle=False)
    for pixels, image in zip(read(split, plan)[0].images, split.images, strict=True):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        offsets_seen |= {
            (y, x)
            for y in range(3)
            for x in range(3)
            if (padded[y : y + SIZE, x : x + SIZE] == pixels).all()
        }
    assert len(offsets_seen) == 9
    flipped = read(split, BatchPlan(global_batch_size=400, seed=0, flip=True, shuffle=False))[0]
    share = np.mean([not (a == b).all() for a, b in zip(flipped.images, split.images, strict=True)])
    assert 0.4 < share < 0.6


def test_alternate_flips_mirror_each_image_in_every_second_epoch():
    split = make_split(40)
    plan = BatchPlan(global_batch_size=40, seed=3, flip=True, alternate_flips=True)
    shown = []
    for epoch in range(4):
        (batch,) = read(split, plan, epoch)
        shown.append(batch.images[np.argsort(batch.labels)])
    assert all((shown[epoch] == shown[epoch + 1][:, :, ::-1]).all() for epoch in range(3))
    mirrored = [not (a == b).all() for a, b in zip(shown[0], split.images, strict=True)]
    assert 10 < sum(mirrored) < 30


def test_alternate_flips_begin_as_the_others_do():
    split = make_split(40)
    plan = BatchPlan(global_batch_size=40, seed=3, flip=True, shuffle=False)
    (drawn,), (alternating,) = read(split, plan), read(split, replace(plan, alternate_flips=True))
    assert (drawn.images == alternating.images).all()


def test_order_differs_between_epochs_and_seeds_but_not_between_calls():
    split = make_split(50)
    plan, other = (BatchPlan(global_batch_size=8, seed=seed) for seed in (0, 1))
    orders = [
        all_labels(read(split, plan, 0)),
        all_labels(read(split, plan, 1)),
        all_labels(read(split, other, 0)),
    ]
    assert len({tuple(order) for order in orders}) == 3
    assert all_labels(read(split, plan, 0)) == orders[0]


def test_order_does_not_depend_on_flips_and_crops():
    split = make_split(50)
    plain = BatchPlan(global_batch_size=8, seed=5)
    augmented = BatchPlan(global_batch_size=8, seed=5, flip=True, crop_padding=2)
    assert all_labels(read(split, plain)) == all_labels(read(split, augmented))


def test_batches_without_shuffle_are_in_order():
    plan = BatchPlan(global_batch_size=4, seed=0, shuffle=False)
    assert all_labels(read(make_split(10), plan)) == list(range(10))


def test_batches_are_copies():
    split = make_split(8)
    before = split.images.copy()
    for shuffle in (True, False):
        plan = BatchPlan(global_batch_size=4, seed=0, shuffle=shuffle)
        for batch in epoch_batches(split, plan, 0):
            batch.images[:] = 0
    np.testing.assert_array_equal(split.images, before)


def test_eval_batches_are_views_in_order():
    split = make_split(10)
    batches = list(eval_batches(split, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert all_labels(batches) == list(range(10))
    assert all(np.shares_memory(batch.images, split.images) for batch in batches)


def test_bytes_of_an_epoch_are_known():
    """The digest is a literal: another NumPy or platform must feed the same bytes."""
    split = Split(
        images=np.arange(12 * 4 * 4 * 3, dtype=np.uint32).astype(np.uint8).reshape(12, 4, 4, 3),
        labels=np.arange(12),
    )
    plan = BatchPlan(global_batch_size=5, seed=42, flip=True, crop_padding=1)
    digest = ""
    for epoch in range(2):
        for batch in epoch_batches(split, plan, epoch):
            digest = chain_digest(digest, batch)
    assert digest == "cdc848bc37b7b1b35cc9215007ac4628a48ce3a676ce6f697fecf1d2f830e2c8"


def test_chain_digest_goes_on_after_a_resume_and_sees_every_byte():
    split = make_split(12)
    plan = BatchPlan(global_batch_size=5, seed=0)
    whole = ""
    for batch in epoch_batches(split, plan, 0):
        whole = chain_digest(whole, batch)
    first = chain_digest("", next(epoch_batches(split, plan, 0)))
    resumed = first
    for batch in epoch_batches(split, plan, 0, start=1):
        resumed = chain_digest(resumed, batch)
    assert resumed == whole

    batch = next(epoch_batches(split, plan, 0))
    content = b"" + batch.images.tobytes() + batch.labels.tobytes()
    assert first == hashlib.sha256(content).hexdigest()
    batch.labels[-1] += 1
    assert chain_digest("", batch) != first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_batch_size": 0}, "global_batch_size=0 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"crop_padding": -2}, "crop_padding=-2 must be at least 0"),
    ],
)
def test_plan_refuses_impossible_numbers(change, message):
    with pytest.raises(DataError, match=message):
        BatchPlan(**({"global_batch_size": 4, "seed": 0} | change))


def test_epoch_without_a_batch_is_refused():
    plan = BatchPlan(global_batch_size=11, seed=0, drop_last=True)
    with pytest.raises(DataError, match="10 images give no batch of global_batch_size=11"):
        epoch_batches(make_split(10), plan, 0)


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, -1), (0, 4)])
def test_epoch_or_start_out_of_range_is_refused_at_once(epoch, start):
    plan = BatchPlan(global_batch_size=4, seed=0)
    with pytest.raises(DataError, match=f"epoch={epoch} start={start}"):
        epoch_batches(make_split(10), plan, epoch, start)


def test_eval_batch_size_below_one_is_refused():
    with pytest.raises(DataError, match="batch_size=0"):
        eval_batches(make_split(3), 0)
