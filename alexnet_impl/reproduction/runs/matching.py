"""Runs that may be put side by side: of one budget, one seed and one dataset."""

from collections.abc import Sequence

from alexnet_impl.reproduction.runs.evidence import Evidence


def shared_runs(
    first: Sequence[Evidence], second: Sequence[Evidence]
) -> tuple[tuple[Evidence, Evidence], ...]:
    """Pairs of the budget that got furthest, one a seed; none if no seed is shared."""
    others = {(_group(run), run.record.seed): run for run in reversed(second)}
    pairs = {
        (_group(run), run.record.seed): (run, others[_group(run), run.record.seed])
        for run in reversed(first)
        if (_group(run), run.record.seed) in others
    }
    if not pairs:
        return ()
    best, _ = min(pairs, key=lambda key: (_rank(pairs[key]), key))
    return tuple(pairs[key] for key in sorted(pairs) if key[0] == best)


def _group(run: Evidence) -> tuple[str, str]:
    return run.record.budget, run.dataset.fingerprint


def _rank(pair: tuple[Evidence, Evidence]) -> tuple[bool, int, bool]:
    """Less is better: all images, the more epochs that both have, a test accuracy of both."""
    return (
        not all(run.has_all_images for run in pair),
        -min(len(run.history.epochs) for run in pair),
        not all(run.result is not None and run.result.status == "finished" for run in pair),
    )
