"""Makes `import dassl` work: with an installed Dassl that works, else with the one in this folder."""

import functools
import importlib
import importlib.util
import io
import logging
import os
import sys
import tempfile
from contextlib import redirect_stdout

logger = logging.getLogger(__name__)

_HERE = os.path.dirname(os.path.abspath(__file__))
_MODULES = ("config", "data", "data.datasets", "data.transforms", "engine", "evaluation", "metrics", "optim", "utils")


@functools.cache
def ensure_dassl() -> str:
    """Make `dassl` importable. Returns, and logs once, which one is used.

    An installed Dassl is kept if, with the installed PyTorch, it can be imported, steps an optimiser and a scheduler
    with warm-up, and reads its own checkpoint. If it fails, its imported modules are forgotten, and `compat/` goes to
    the front of `sys.path`; if none is installed, to the end.
    """
    origin = _origin()
    if origin is None:
        sys.path.append(_HERE)
    if origin is None or os.path.realpath(origin) == os.path.realpath(os.path.join(_HERE, "dassl")):
        description = f"compat/dassl {_version()}"
    else:
        problem = _probe()
        logging.disable(logging.NOTSET)  # upstream imports wilds, which turns off all warnings of the process
        if problem is None:
            description = f"installed Dassl {_version()} ({origin})"
        else:
            _forget_dassl()
            sys.path.insert(0, _HERE)
            description = f"compat/dassl {_version()}, because the installed Dassl ({origin}) fails: {problem}"
    logger.info("dassl: %s", description)
    return description


def _origin() -> str | None:
    """The folder of the `dassl` that an import would find; None if there is none."""
    try:
        spec = importlib.util.find_spec("dassl")
    except (ImportError, ValueError):  # ValueError: a module object without a spec in sys.modules
        return "unknown"
    if spec is None:
        return None
    if spec.origin:
        return os.path.dirname(os.path.abspath(spec.origin))
    return next(iter(spec.submodule_search_locations or ()), "unknown")


def _version() -> str:
    return getattr(importlib.import_module("dassl"), "__version__", "of unknown version")


def _forget_dassl() -> None:
    for name in [name for name in sys.modules if name == "dassl" or name.startswith("dassl.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _probe() -> str | None:
    """Why the importable `dassl` does not work, in one line; None if it works."""
    try:
        with redirect_stdout(io.StringIO()):
            for name in _MODULES:
                importlib.import_module(f"dassl.{name}")
            _train_save_and_resume()
    except (Exception, SystemExit) as error:  # an old package can fail in any way
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None


def _train_save_and_resume() -> None:
    """Step the optimiser and schedule that CoOp uses, then write a checkpoint and read it."""
    import torch
    from dassl.config import get_cfg_default
    from dassl.optim import build_lr_scheduler, build_optimizer
    from dassl.utils import resume_from_checkpoint, save_checkpoint

    optim_cfg = get_cfg_default().OPTIM
    optim_cfg.NAME, optim_cfg.LR_SCHEDULER = "sgd", "cosine"
    optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_TYPE = 1, "constant"
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay the same
        model = torch.nn.Linear(2, 1)
    optimizer = build_optimizer(model, optim_cfg)
    scheduler = build_lr_scheduler(optimizer, optim_cfg)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    state = {"state_dict": model.state_dict(), "epoch": 1, "val_result": None}
    state |= {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(state, folder)
        epoch = resume_from_checkpoint(folder, model, optimizer, scheduler)
    if epoch != 1:
        raise RuntimeError(f"a checkpoint of epoch 1 was read as epoch {epoch}")
