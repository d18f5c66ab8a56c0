"""python -IS client.py SOCKET [ARGUMENTS of Python]: has the server run a command, and ends as the command ends."""

import contextlib
import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)


def passed() -> list[int]:
    """The open files that this command was started with, besides its standard streams."""
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # that of the listing
            found += [number] if number > 2 and os.get_inheritable(number) else []
    return found


def main() -> None:
    address, *arguments = sys.argv[1:]
    unbuffered = arguments[:1] == ["-u"]
    command = arguments[unbuffered:]
    if not command or command[0].startswith("-") and command[0] not in ("-c", "-m"):
        os.execv(sys.executable, [sys.executable, *arguments])
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        ignored = [number for number in FORWARDED if signal.getsignal(number) == signal.SIG_IGN]
        for number in set(FORWARDED) - set(ignored):
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
        job = {"arguments": command, "cwd": os.getcwd(), "env": dict(os.environ), "ignored": ignored}
        job["unbuffered"] = unbuffered or bool(os.environ.get("PYTHONUNBUFFERED"))
        job["files"] = [0, 1, 2, *passed()]
        socket.send_fds(server, [json.dumps(job).encode() + b"\n"], job["files"])
        status = json.loads(server.makefile().readline())
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
