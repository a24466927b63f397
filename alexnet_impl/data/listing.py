"""The image files of a dataset with their labels: by folder, or by Kaggle's table of labels."""

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.image_sources import ImageSource, is_image
from alexnet_impl.errors import DataError

_PARTS = ("train", "test", "val")
_TABLES = frozenset({"trainlabels.csv", "train_labels.csv", "labels.csv"})
HELD_OUT = 5
"""One in this many labelled images is held out, where the test images have no labels."""
LAYOUT = (
    "images are expected as train/CLASS/*.jpg and test/CLASS/*.jpg (or of any other kind that "
    "Pillow decodes), or as train/ID.png with Kaggle's trainLabels.csv"
)

ByClass = dict[str, list[str]]
"""Paths by class name."""


@dataclass(frozen=True, kw_only=True)
class ListedPart:
    """The image files of one part.

    Attributes:
        paths: In the order of the dataset.
        labels: int64 of shape (num_images,), indices into the listing's class_names.
    """

    paths: list[str]
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The image files of a dataset.

    Attributes:
        class_names: Sorted.
        train: Training images.
        test: Test images.
        held_out: How the test images were chosen, if the files do not say; otherwise empty.
        left_out: What is not read, counted and named; empty if everything is read.
    """

    class_names: tuple[str, ...]
    train: ListedPart
    test: ListedPart
    held_out: str = ""
    left_out: str = ""


def has_own_images(folder: Path) -> bool:
    """Whether a folder itself, not one below it, has train/CLASS/ or train/ and a label table."""
    train = folder / "train"
    try:
        has_table = train.is_dir() and any(p.name.lower() in _TABLES for p in folder.iterdir())
        return any(is_image(path.name) for path in train.glob("**/*" if has_table else "*/**/*"))
    except OSError:  # whoever reads the folder names it
        return False


def list_images(source: ImageSource) -> Listing:
    """Finds the images of both parts, sorted by class and then by name, or in a table's order.

    Raises:
        DataError: If a part or a class is missing, a class has no file that can be read, the name
            of a class is no text, there are several train folders, or a table of labels does not
            fit the images.
    """
    tree = _Tree(source)
    prefixes = [prefix for prefix, part in tree.images if part == "train"]
    tables = [path for path in source.files if PurePosixPath(path).name.lower() in _TABLES]
    # Unpacked into a folder of its own, train/train/1.png looks like a class called train.
    if tables and sum(len(tree.images[prefix, "train"]) for prefix in prefixes) < 2:
        return _list_by_table(source, tables)
    if not prefixes:
        raise _no_images_error(source)
    if len(prefixes) > 1:
        raise DataError(f"{source.path}: has images in several train folders; name one: {prefixes}")
    return tree.listing(prefixes[0])


class _Tree:
    """The files in folders of classes, by the folder of the dataset and by part."""

    def __init__(self, source: ImageSource) -> None:
        self.source = source
        self.images: dict[tuple[str, str], ByClass] = {}
        self.others: dict[tuple[str, str], ByClass] = defaultdict(lambda: defaultdict(list))
        self.outside: list[str] = []
        for path in sorted(source.files):
            if (place := _place(path)) is None:
                self.outside += [path] if is_image(path) else []
                continue
            *where, class_name = place
            self._check_name(class_name)
            key = (where[0], where[1])
            if is_image(path):
                self.images.setdefault(key, defaultdict(list))[class_name].append(path)
            else:
                self.others[key][class_name] += [] if path.endswith("/") else [path]

    def _check_name(self, class_name: str) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in class_name):
            raise DataError(
                f"{self.source.path}: the class name {class_name!r} is not UTF-8; rename its "
                "folder."
            )

    def listing(self, prefix: str) -> Listing:
        """The dataset in this folder."""
        train = self.images[prefix, "train"]
        part = next((p for p in ("test", "val") if (prefix, p) in self.images), None)
        if part is None:
            raise DataError(
                f"{self.source.path}: has training images but no test/ or val/; {LAYOUT}."
            )
        test = self.images[prefix, part]
        used = {(prefix, "train"): train, (prefix, part): test}
        self._check_classes(used)
        names = tuple(sorted(train))
        unread = [path for key in used for paths in self.others[key].values() for path in paths]
        outside = self.outside + [
            path
            for key, classes in self.images.items() if key not in used
            for paths in classes.values() for path in paths
        ]  # fmt: skip
        return Listing(
            class_names=names,
            train=_by_class(train, names),
            test=_by_class(test, names),
            left_out=_left_out(
                unread, outside, f"train/CLASS/ and {part}/CLASS/", _dead_links(self.source)
            ),
        )

    def _check_classes(self, used: Mapping[tuple[str, str], ByClass]) -> None:
        """Checks that no class has lost all its images in a part."""
        every = {name for key in used for name in (*used[key], *self.others[key])}
        for key, classes in reversed(list(used.items())):
            if missing := sorted(every - classes.keys()):
                unread = self.others[key].get(missing[0], [])
                raise DataError(
                    f"{self.source.path}: no images of class '{missing[0]}' in {key[1]}/ "
                    f"({len(missing)} of {len(every)} classes missing){_instead(unread)}; both "
                    "parts need every class."
                )


def _place(path: str) -> tuple[str, str, str] | None:
    """The folder of the dataset, the part and the class of a path; None outside of such folders.

    Images may lie deeper in the folder of their class, as torchvision and Keras read them.
    """
    folders = path.split("/")[:-1]
    inner = [place for place, name in enumerate(folders[:-1]) if name in _PARTS]
    if not inner:
        return None
    place = inner[-1]  # the last one: all before it may be names of other folders
    return "/".join(folders[:place]), folders[place], folders[place + 1]


def _by_class(classes: ByClass, names: tuple[str, ...]) -> ListedPart:
    counts = [len(classes[name]) for name in names]
    return ListedPart(
        paths=[path for name in names for path in classes[name]],
        labels=np.repeat(np.arange(len(counts), dtype=np.int64), counts),
    )


def _instead(unread: list[str]) -> str:
    if not unread:
        return ", whose folder is missing or empty"
    return (
        f"; it has {_count(len(unread), 'other file')} ({_kinds(unread)}), such as '{unread[0]}': "
        "convert them to PNG, or remove the folder"
    )


def _dead_links(source: ImageSource) -> list[str]:
    """The dead links that may stand for images: by their suffix, or in a part."""
    return [path for path in source.dead_links if is_image(path) or _place(f"{path}/-/-")]


def _told(links: list[str]) -> str:
    return (
        f"{_count(len(links), 'link')} without an image in the archive, such as '{links[0]}' (pack "
        "it with tar --dereference --hard-dereference)"
    )


def _left_out(unread: list[str], outside: list[str], places: str, links: list[str]) -> str:
    """Counts and names what is left out."""
    parts = []
    if unread:
        parts.append(
            f"{len(unread):,} that Pillow does not decode ({_kinds(unread)}), such as '{unread[0]}'"
        )
    if outside:
        parts.append(f"{_count(len(outside), 'image')} outside of {places}, such as '{outside[0]}'")
    if links:
        parts.append(_told(links))
    if not parts:
        return ""
    count = len(unread) + len(outside) + len(links)
    return f"{_count(count, 'file')} left out: {'; '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _kinds(paths: Iterable[str]) -> str:
    """The suffixes, the most frequent first."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "no suffix" for path in paths)
    names = [name for name, _ in counts.most_common(4)]
    return ", ".join(names[:3] + ["..."] * (len(names) > 3))


def _list_by_table(source: ImageSource, tables: list[str]) -> Listing:
    """The labelled images of a table, of which a share of each class is held out."""
    if len(tables) > 1:
        raise DataError(f"{source.path}: has several tables of labels; name one folder: {tables}")
    table = tables[0]
    where = f"{source.path}: {table}"
    folder = table.rpartition("/")[0]
    train = f"{folder}/train/" if folder else "train/"
    images = _by_name(source, train)
    rows = _rows(source.read(table), where, images)
    by_class: ByClass = defaultdict(list)
    for name, label in rows.items():
        by_class[label].append(name)
    names = tuple(sorted(by_class))
    held_out = {name for label in names for name in _held_out(label, by_class[label], where)}
    number = {label: place for place, label in enumerate(names)}

    def listed(chosen: list[str]) -> ListedPart:
        return ListedPart(
            paths=[images[name] for name in chosen],
            labels=np.array([number[rows[name]] for name in chosen], np.int64),
        )

    outside = set(filter(is_image, source.files)) - {images[name] for name in rows}
    below = (path for path in source.files if path.startswith(train) and not path.endswith("/"))
    unread = sorted(path for path in below if not is_image(path))
    return Listing(
        class_names=names,
        train=listed([name for name in rows if name not in held_out]),
        test=listed([name for name in rows if name in held_out]),
        held_out=f"{len(held_out):,} of the {len(rows):,} images with a label in {table} are held "
        f"out as the test part: one in {HELD_OUT} of each class, always the same",
        left_out=_left_out(
            unread, sorted(outside), f"{table}, without a label", _dead_links(source)
        ),
    )


def _by_name(source: ImageSource, folder: str) -> dict[str, str]:
    """Path by file name without suffix of the images below a folder."""
    found: dict[str, str] = {}
    for path in filter(is_image, sorted(source.files)):
        if not path.startswith(folder):
            continue
        name = PurePosixPath(path).stem
        if name in found:
            raise DataError(
                f"{source.path}: '{found[name]}' and '{path}' both belong to the label of "
                f"'{name}'; remove one."
            )
        found[name] = path
    return found


def _rows(data: bytes, where: str, images: Mapping[str, str]) -> dict[str, str]:
    """Label by file name without suffix, in the table's order.

    Raises:
        DataError: If it is no table of two columns, names an image twice, or one that is missing.
    """
    rows: dict[str, str] = {}
    missing: list[str] = []
    cells = list(_cells(data, where))
    others = {label for _, (_, label) in cells[1:]}
    for line, (identifier, label) in cells:
        name = identifier if identifier in images else PurePosixPath(identifier).stem
        if line == 1 and name not in images and label not in others:
            continue  # the head
        if name in rows:
            raise DataError(f"{where}: line {line} names '{identifier}' again; remove one line.")
        rows[name] = label
        missing += [] if name in images else [identifier]
    if missing or not rows:
        example = f", such as '{missing[0]}'" if missing else ""
        raise DataError(
            f"{where}: {len(missing):,} of its {len(rows):,} images are not in train/{example}; "
            "unpack the training images (Kaggle's train.7z) beside the table, into train/."
        )
    return rows


def _cells(data: bytes, where: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yields line number and both cells of each line."""
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        for row in filter(None, reader):
            if len(row) != 2 or not all(cell.strip() for cell in row):
                raise DataError(
                    f"{where}: line {reader.line_num} has the cells {row!r:.100}; every line must "
                    "be an image's name and its label, as in '7,horse'."
                )
            yield reader.line_num, (row[0].strip(), row[1].strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: is not a table of names and labels ({error}).") from error


def _held_out(label: str, names: list[str], where: str) -> list[str]:
    """A share of a class's images, chosen by a hash of their names: the same everywhere."""
    if len(names) < 2:
        raise DataError(
            f"{where}: class '{label}' has one image; it needs two or more, since one in "
            f"{HELD_OUT} images of each class is held out as the test part."
        )
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return ordered[: max(1, round(len(names) / HELD_OUT))]


def _no_images_error(source: ImageSource) -> DataError:
    files = sorted(path for path in source.files if not path.endswith("/"))
    if images := [path for path in files if is_image(path)]:
        return DataError(
            f"{source.path}: {len(images)} images, none of them in train/CLASS/ (one is "
            f"'{images[0]}'); {LAYOUT}."
        )
    if links := _dead_links(source):
        return DataError(f"{source.path}: contains no images; it has {_told(links)}.")
    readable = [path for path in files if path.endswith((".zip", ".tar", ".tar.gz", ".tgz"))]
    if readable and source.path.is_dir():
        hint = f" Did you mean '{source.path / readable[0]}'?"
    elif packed := readable + [path for path in files if path.endswith((".7z", ".rar"))]:
        hint = f" Unpack '{packed[0]}' and give its folder."
    else:
        hint = f" It has {_count(len(files), 'other file')}, such as '{files[0]}'." if files else ""
    return DataError(f"{source.path}: contains no images; {LAYOUT}.{hint}")
