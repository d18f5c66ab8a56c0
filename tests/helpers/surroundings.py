"""What the tests depend on besides code and machine: put right once, whoever starts them, and from where.

A CI runner's script, nohup, cron, a git hook, a job of SLURM or a login with settings of its own each hand down signals
that are ignored, variables, a folder for the user's files that is missing or full of settings, and more.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import site
import tempfile

SIGNALS = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
# Variables, in any case, that change what the tests or the commands in them do.
OURS = "VARIANT|SEEDS|DATA|OUT|SEPARATE|JOBS|PROMPTS|TASKS|HALF|CFG|CUT"
LAUNCHERS = "(GROUP_|LOCAL_|ROLE_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|SLURM_.*|CUDA_VISIBLE_DEVICES"
SHELLS = "GIT_.*|BASH_ENV|ENV|CDPATH|SHELLOPTS|BASHOPTS|POSIXLY_CORRECT|LANGUAGE|LC_.*"
TERMINALS = "COLUMNS|LINES|FORCE_COLOR|NO_COLOR|CLICOLOR.*|PY_COLORS"
# Not what says where Python and its packages are.
PYTHONS = "PYTHON(?!PATH$|HOME$|NOUSERSITE$|USERBASE$|DONTWRITEBYTECODE$|PYCACHEPREFIX$).+|PYTEST_(ADDOPTS|PLUGINS)"
LIBRARIES = "XDG_.*|(HF|HUGGINGFACE|TRANSFORMERS|GRADIO|WANDB|TORCH|MPL|OMP|KMP|MKL)_.*|MPL.*|.*_NUM_THREADS"
PROXIES = "(HTTP|HTTPS|FTP|ALL|NO)_PROXY"
FOREIGN = re.compile("|".join((OURS, LAUNCHERS, SHELLS, TERMINALS, PYTHONS, LIBRARIES, PROXIES)), re.I)


def settle() -> None:
    """Put right what this process and those that it starts inherit, but for signals that are ignored."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # a standard stream was closed, and the next file would take its place
    os.close(number)
    os.umask(0o022)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody learns how a process ended
    letters = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE")
    os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())  # it follows from HOME
    for name in filter(FOREIGN.fullmatch, list(os.environ)):
        del os.environ[name]
    # The characters of the caller's language, but no words, numbers or order of it.
    os.environ |= {f"LC_{kind}": "C" for kind in ("MESSAGES", "NUMERIC", "COLLATE", "TIME")}
    os.environ |= {"LC_CTYPE": letters} if letters else {}
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # the models are small, the figures a CPU's
    os.environ["HOME"] = tempfile.mkdtemp(prefix="home-")


def unsettle() -> None:
    """Remove the folder that `settle` has made."""
    shutil.rmtree(os.environ["HOME"], ignore_errors=True)


def let_signals_through() -> None:
    """What this process starts takes signals as from a terminal, also those that are ignored here, and still are: a
    started program inherits that a signal is ignored, but no handler. Shells ignore SIGINT in background jobs, nohup
    ignores SIGHUP."""
    for name in SIGNALS:
        number = getattr(signal, name)
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
