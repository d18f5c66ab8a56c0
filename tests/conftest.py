"""Provides Dassl before any test module is imported, and what tests of several folders share."""

import builtins
import functools
import logging

import pytest
import surroundings

import compat

compat.ensure_dassl()


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # of pytest-xdist's processes, the one that starts the others
        surroundings.settle()
        config.add_cleanup(surroundings.unsettle)
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        import warm_python

        warm_python.start()  # the others, which run the tests, share it
        return
    surroundings.let_signals_through()
    import second_device  # noqa: F401  PyTorch counts its devices in the first backward pass, also of a module's import
    import torch

    torch.set_num_threads(1)  # the test models are too small for more


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)


@pytest.fixture(autouse=True)
def no_log_into_a_closed_stream():
    """A script that a test calls lets the log go to the test's own stdout, which is closed after it."""
    yield
    for handler in [handler for handler in logging.root.handlers if type(handler) is logging.StreamHandler]:
        logging.root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def what_building_a_trainer_repeats():
    """Over a thousand tests build a trainer of the same small CLIP: its file is read once, the random numbers that
    OpenAI's initialisation takes are drawn once for a seed, and PromptSRC encodes three of its 60 templates."""
    import torch
    import toy

    from softcpt.backbones import openai
    from trainers import promptsrc
    from trainers.engine import trainer

    read_file, draw, files, states = openai.read_state_dict, trainer.skip_draws, {}, {}

    def read_state_dict(path):
        if path.parent != toy.GOLDEN:
            return read_file(path)
        if path not in files:
            files[path] = read_file(path)
        return {name: tensor.clone() for name, tensor in files[path].items()}

    def skip_draws(count):
        key = torch.get_rng_state().numpy().tobytes(), count
        if key not in states:
            draw(count)
            states[key] = torch.get_rng_state()
        torch.set_rng_state(states[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai, "read_state_dict", read_state_dict)
        patch.setattr(trainer, "skip_draws", skip_draws)
        patch.setattr(promptsrc, "IMAGENET", promptsrc.IMAGENET[:3])
        yield


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """A data root with the toy tasks."""
    import toy

    return toy.draw(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def finished_run(toy_root, tmp_path_factory):
    """A function of a method's name and config pairs: the folder of a finished run over the three toy tasks, trained
    once. Nothing is to be written into it."""
    import toy

    folder = tmp_path_factory.mktemp("finished")

    @functools.cache
    def run(method, *opts):
        out = folder / f"{method}-{len(list(folder.iterdir()))}" / "run"
        # THRESH: a transport plan whose iterations no other image of the batch stops.
        pairs = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, "TRAINER.PLOT.THRESH", 0.0, *opts)
        toy.finish(toy.arguments(toy_root, out, method, *pairs))
        return out

    return run


@pytest.fixture(scope="session")
def processes():
    """What starts train.py in processes of their own, with faults: see tests/faults/runs.py."""
    from faults.runs import Processes

    with Processes() as started:
        yield started


@pytest.fixture
def call(tmp_path):
    """Runs a shell script with a stand-in for Python: see tests/helpers/shell.py."""
    from shell import Caller

    return Caller(tmp_path)


@pytest.fixture
def without_package(monkeypatch):
    """A function of a package's name, after which importing the package fails."""
    own, missing = builtins.__import__, set()

    def import_the_others(name, *args, **kwargs):
        if name.split(".")[0] in missing:
            raise ImportError(f"No module named {name!r}")
        return own(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_the_others)
    return missing.add
