"""Each report's conclusion, and our answer to it in two sentences."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One report's conclusion and our answer.

    Attributes:
        concluded: The report's conclusion, in our words.
        answer: What the report's own figures, arithmetic and this project's measurements say; runs
            of the report's experiments are not used.
        rests_on: Names of the checks and paths of the documents that it rests on.
    """

    report: str
    concluded: str
    answer: str
    rests_on: tuple[str, ...]


ANSWERS = (
    Answer(
        report="R0",
        concluded="PyTorch is the better framework: 71.95 % against 10.00 %, six times as fast.",
        answer="By its own output cells neither network learned: both end at ln 10 and 10.00 %, "
        "and 71.95 % stands in the text alone. The conditions were not equal (padding, Dropout's "
        "place, scaling, initial weights), the TensorFlow run stopped in its fourth epoch, and if "
        "it ran on the CPU alone, as line 36 suggests, the times compare a GPU with a CPU.",
        rests_on=("two_values", "never_learned", "stopped_runs", "comparisons", "docs/collapse.md"),
    ),
    Answer(
        report="R1",
        concluded="The frameworks' defaults give 61.59 % or 80.34 % with a similar network, and "
        "ResNet50 shows that complex networks are not always better.",
        answer="The two networks are not similar: 64-128-256-256-256 against 96-256-384-384-256, "
        "with other padding and, as far as it is said, other input. With optimizer, batch and "
        "scaling left unsaid, none of the four accuracies can be put down to a framework or to "
        "an architecture.",
        rests_on=("comparisons", "docs/explain.md"),
    ),
    Answer(
        report="R2",
        concluded="The 1000-unit layer and the missing Dropout caused overfitting, augmentation "
        "helps, and the pretrained PyTorch network is the best.",
        answer="The overfitting was real (0.7045 on validation), but its 97.74 % on the test set "
        "was measured on 351 batches of 128 of the 45,000 training images; for the corrected "
        "network without augmentation no figure is given to compare with. The weights moved "
        "into Keras did badly because fc1's inputs were not permuted, and the accuracies by class "
        "come from samples of 55 to 79 images each.",
        rests_on=("measured_images", "test_above_validation", "sample_sizes", "docs/parity.md"),
    ),
    Answer(
        report="R3",
        concluded="Both frameworks reach almost the same accuracy; pretraining costs time and "
        "gains accuracy.",
        answer="Its two scratch networks are one and the same, and its accuracies lie 1.54 "
        "points apart, where two draws of 10,000 test images differ by up to 1.1: initial weights, "
        "shuffling and one seed each remain for it, and Keras's printed losses are averaged twice. "
        "Its pretrained networks differ from these in architecture and input as well, so they "
        "measure more than pretraining.",
        rests_on=("comparisons", "progress_bars", "averages", "docs/explain.md"),
    ),
    Answer(
        report="R4",
        concluded="Both frameworks reach about 70 % from scratch, pretrained networks 80 to 90 %, "
        "and memory is the limit.",
        answer="The resized images alone take 30.1 GB as float32 with any network and any batch "
        "size, which on a machine with less explains why the kernel died with a batch of 128 and "
        "why 32 and 16 did not help; resized batch by batch they take none of it. Of its scratch "
        "networks it gives neither widths nor a batch size, and as accuracies ranges or about "
        "70 %, so a run can agree with them but hardly refute them.",
        rests_on=("resized_datasets",),
    ),
)
