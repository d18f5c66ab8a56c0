"""The files of a run that lasts or has failed: its output beside the run folder, and failure.txt in it."""

from pathlib import Path

from softcpt.files import write_atomically

FAILURE = "failure.txt"  # in the folder of a failed run: the reason in the first line, then its output
LINES = 20  # lines of a failed run's output to show
MOST_OUTPUT = 200_000  # characters of it to keep


def log_of(folder: Path) -> Path:
    """The file beside a run folder with the output of the run while it lasts."""
    return folder.with_name(f"{folder.name}.log")


def note_failure(folder: Path, what: str) -> None:
    """Move a failed run's output to failure.txt in its folder, below the reason, unless the file exists."""
    log, note = log_of(folder), folder / FAILURE
    if log.is_file() or not note.is_file():
        output = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(note, f"{what}\n{output[-MOST_OUTPUT:]}")
        log.unlink(missing_ok=True)


def failure_of(folder: Path, lines: int = LINES) -> tuple[str, list[str]]:
    """Why a run failed, and the last lines of its output; ("", []) if it did not fail."""
    note = folder / FAILURE
    if not note.is_file():
        return "", []
    what, *output = note.read_text(encoding="utf-8", errors="replace").splitlines()
    return what, [line for line in output if line.strip()][-lines:]
