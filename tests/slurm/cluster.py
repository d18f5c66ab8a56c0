"""A SLURM cluster of one node on this machine, for tests: munged, slurmctld and slurmd with files in one folder.

Needs root and Debian's packages slurm-wlm and munge. Nothing of the system is changed, and nothing is left running.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmctldTimeout=30
KillWait=5
MinJobAge=10
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=60 State=UP
"""


def reason_to_skip() -> str:
    """Why there can be no cluster here; "" if there can."""
    missing = [name for name in PROGRAMS if not path_of(name)]
    if missing:
        return f"no {missing[0]}: install Debian's slurm-wlm and munge"
    return "" if os.geteuid() == 0 else "only root can start slurmd"


def path_of(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Cluster:
    """Starts the daemons; raises RuntimeError with what they said where the node does not become idle."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        for name in ("state", "spool"):
            (folder / name).mkdir()
        cores = len(os.sched_getaffinity(0))
        config = CONFIG.format(folder=folder, host=socket.gethostname(), ports=free_ports(2), cores=cores)
        (folder / "slurm.conf").write_text(config)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)

    def __enter__(self) -> Cluster:
        files = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munged.log", "pid-file": "munged.pid"}
        files["seed-file"] = "munged.seed"
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        try:
            self.start("munged", "--foreground", "--force", *options)
            self.wait_for(lambda: (self.folder / "munge.socket").exists(), "munged")
            self.start("slurmctld", "-D")
            self.start("slurmd", "-D")
            self.wait_for(lambda: "idle" in self.call("sinfo", "--noheader", "--format=%t"), "slurmd")
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.out", "wb") as out:
            command = [path_of(name), *arguments]
            env = {**os.environ, **self.env}
            self.processes.append(subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True))

    def call(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **self.env}, timeout=30)
        return done.stdout

    def wait_for(self, ready, name: str, seconds: float = 30) -> None:
        end = time.time() + seconds
        while not ready():
            if time.time() > end or self.processes[-1].poll() is not None:
                logs = [path for path in self.folder.glob(f"{name}.*") if path.suffix in (".out", ".log")]
                said = "\n".join(path.read_text(errors="replace")[-800:] for path in logs)
                raise RuntimeError(f"{name} does not run here: {said}")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        if any("slurmctld" in str(process.args[0]) for process in self.processes):
            self.call("scancel", "--user=root")
            end = time.time() + 15
            while self.call("squeue", "--noheader").strip() and time.time() < end:
                time.sleep(0.2)
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self.end_steps()

    def end_steps(self) -> None:
        """End slurmd's helpers, which would wait for ever to tell slurmctld that their jobs have ended."""
        for file in Path("/proc").glob("[0-9]*/environ"):
            try:
                name = (file.parent / "comm").read_text().strip()
                if name == "slurmstepd" and str(self.folder).encode() in file.read_bytes():
                    os.kill(int(file.parent.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for own in sockets:
        own.bind(("127.0.0.1", 0))
    ports = [own.getsockname()[1] for own in sockets]
    for own in sockets:
        own.close()
    return ports
