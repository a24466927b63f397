"""Runs that are prepared and started at once, for tests that have a config and its images."""

from contextlib import contextmanager

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.errors import StoppedError
from alexnet_impl.processes import training_worker
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training import start
from alexnet_impl.training.feeding import run_images
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.training.prepare import PreparedRun, prepare_run
from alexnet_impl.weights.pretrained_files import check_preprocessing, find_pretrained


def images_of(config):
    """What the config loads."""
    return run_images(config.data, config.recipe)


def start_run(folder_path, config, dataset, observer):
    """start.start_run() of a config."""
    return start.start_run(folder_path, prepare_run(config, dataset), dataset, observer)


def resume_run(folder, dataset, observer):
    """start.resume_run() of the folder's own config."""
    start.check_resumable(folder, dataset)
    return start.resume_run(folder, prepare_run(folder.config, dataset), dataset, observer)


def train_prepared(run, folder, observer, **_):
    """training_worker.train_in_worker(), but in this process."""
    dataset = images_of(run.config)
    if (folder / "run.json").is_file():
        return start.resume_run(start.RunFolder.open(folder), run, dataset, observer)
    return start.start_run(folder, run, dataset, observer)


class SeriesInProcess:
    """A worker series without a process."""

    def train(self, run, folder, observer):
        result = train_prepared(run, folder, observer)
        if result.status == "interrupted":
            raise StoppedError(f"Stopped {run.config.framework} after step {result.steps}")
        return result


@contextmanager
def series_in_process(*_, **__):
    """training_worker.worker_series(), but in this process."""
    yield SeriesInProcess()


def train_in_worker(config, folder, observer, **options):
    """training_worker.train_in_worker() of a config."""
    run = prepare_run(config, images_of(config))
    return training_worker.train_in_worker(run, folder, observer, **options)


def start_weights(name, spec, recipe, framework, width=1.0):
    """What a network starts from: the weights of that name, and fresh ones of layers to reset."""
    given = find_pretrained(name, spec.name, spec.input_shape[1], framework=framework)
    check_preprocessing(recipe, given)
    config = RunConfig(
        framework=framework, variant=spec.name, width=width, recipe=recipe, data=DataConfig()
    )
    return first_weights(PreparedRun(config=config, spec=spec, given=given))
