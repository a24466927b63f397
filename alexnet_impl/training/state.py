"""State of a training run: what the parts of the training loop share and change."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import num_batches
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import DivergedError
from alexnet_impl.frameworks import DeviceTrainer, get_framework
from alexnet_impl.machine.interference import OtherWork
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.phases import Phase, phases
from alexnet_impl.recipe.recipe import Recipe, learning_rate_at
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import CollapseReport, History
from alexnet_impl.training.collapse import CollapseWatch, relu_names
from alexnet_impl.training.events import Observer
from alexnet_impl.training.features import head_recipe
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.training.network import Network
from alexnet_impl.weights.canonical import Weights


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counters and sums of a run: with the arrays of a checkpoint, all that resuming needs."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    epoch_images: int = 0
    epoch_loss_sum: float = 0.0
    epoch_correct: int = 0
    epoch_timed_images: int = 0
    epoch_training_time_s: float = 0.0
    timed_images: int = 0
    first_step_time_s: float = 0.0
    training_time_s: float = 0.0
    evaluation_time_s: float = 0.0
    cores_time_s: float = 0.0
    others_time_s: float = 0.0
    batches_sha256: str = ""
    collapse: CollapseReport | None = None

    def end_epoch(self) -> None:
        """Counts the epoch and clears what is summed over an epoch."""
        self.epoch += 1
        self.step_in_epoch = self.epoch_images = self.epoch_correct = self.epoch_timed_images = 0
        self.epoch_loss_sum = self.epoch_training_time_s = 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class RunState:
    """A run in training.

    Attributes:
        folder: The run folder that is written.
        config: The run's configuration.
        dataset: The images.
        network: What is trained.
        observer: Takes the events.
        spec: The whole network, layers with cached features included.
        batches_per_epoch: Steps of an epoch.
        phases: The recipe's phases.
        phase: The current one.
        trainer: The current phase's.
        watch: Looks for a collapse in the first epoch; None if nothing is to be looked for.
        progress: Counters and sums.
        other_work: Measures what else uses the machine meanwhile.
        history: Figures by epoch and by step.
        shapes_seen: (steps, batch size) of the calls made so far: the first call of each traces,
            compiles and allocates.
        test_probabilities: From the latest epoch that was evaluated on the test images, of shape
            (num_test_images, num_classes).
    """

    folder: RunFolder
    config: RunConfig
    dataset: Dataset
    network: Network
    observer: Observer
    spec: Spec
    batches_per_epoch: int
    phases: tuple[Phase, ...]
    phase: Phase
    trainer: DeviceTrainer
    watch: CollapseWatch | None = None
    progress: Progress = field(default_factory=Progress)
    other_work: OtherWork = field(default_factory=OtherWork)
    history: History = field(default_factory=History)
    shapes_seen: set[tuple[int, int]] = field(default_factory=set)
    test_probabilities: NDArray[np.float64] | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe of the whole run."""
        return self.config.recipe

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return sum(phase.num_steps for phase in self.phases)

    @property
    def is_done(self) -> bool:
        """Whether the last step has been taken."""
        return self.progress.step >= self.num_steps

    @property
    def is_recorded(self) -> bool:
        """Whether the last step has been taken and its epoch has been evaluated and recorded."""
        return self.is_done and self.progress.step_in_epoch == 0

    def put_dataset_on_device(self) -> None:
        """Puts the training images on the device, if the recipe says so."""
        if self.recipe.device_data:
            self.trainer.put_dataset_on_device(self.dataset.train.images, self.recipe.crop_padding)

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step of the run, which belongs to the current phase."""
        phase = self.phase
        return learning_rate_at(phase.recipe, step - phase.first_step, phase.num_steps)

    def whole_weights(self) -> Weights:
        """Returns the whole network's weights in the canonical layout."""
        return self.network.kept_weights | self.trainer.weights()

    def next_phase(self) -> Phase:
        """Returns the phase that the next step belongs to."""
        return [phase for phase in self.phases if phase.first_step <= self.progress.step][-1]

    def begin_phase(self, phase: Phase, weights: Weights) -> None:
        """Starts a phase on the weights of the one before, with a new optimizer.

        The weights are those of the trained layers, in the canonical layout.
        """
        self.phase = phase
        recipe, features = phase.recipe, self.network.features
        if features is not None:
            recipe = head_recipe(recipe, self.spec, features.cut)
        self.trainer = get_framework(self.config.framework).make_trainer(
            self.network.spec, recipe, weights, self.config.device
        )
        self.put_dataset_on_device()
        self.shapes_seen.clear()
        if self.watch is not None:
            self.watch.trainer = self.trainer

    def count_other_work(self) -> None:
        """Adds up what other processes used since it was last called."""
        total_s, others_s = self.other_work.lap()
        self.progress.cores_time_s += total_s
        self.progress.others_time_s += others_s

    def diverged(self, problem: str) -> DivergedError:
        """Returns the error for a loss or a weight that is not finite."""
        return DivergedError(
            f"{self.folder.path}: {problem} of {self.num_steps} (learning_rate="
            f"{self.recipe.learning_rate:g}, precision={self.recipe.precision}); try a lower "
            "--recipe.learning-rate or --recipe.clip-norm 1. The weights of the last good "
            "checkpoint are kept, or the initial ones if there is none."
        )


def initial_state(
    folder: RunFolder, config: RunConfig, dataset: Dataset, network: Network, observer: Observer
) -> RunState:
    """Returns the state of a run before its first step."""
    batches_per_epoch = num_batches(batch_plan(config.recipe), len(dataset.train))
    parts = phases(config.recipe, batches_per_epoch)
    state = RunState(
        folder=folder,
        config=config,
        dataset=dataset,
        network=network,
        observer=observer,
        spec=network.whole,
        batches_per_epoch=batches_per_epoch,
        phases=parts,
        phase=parts[0],
        trainer=network.trainer,
    )
    # A network without a ReLU has no units that could die.
    if config.on_collapse != "ignore" and network.features is None and relu_names(network.whole):
        last_step = min(batches_per_epoch, state.num_steps)
        state.watch = CollapseWatch(network.trainer, network.whole, dataset.train.images, last_step)
    state.put_dataset_on_device()
    return state
