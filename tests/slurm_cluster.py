"""A real SLURM on one machine: as many nodes as wished, with GPUs that only SLURM believes in.

Idea: all daemons (munged, slurmctld, one slurmd a node) run in the foreground as children of this
process, with keys, sockets, state and logs in one folder and ports that were free, so that nothing
of the machine is touched, several clusters can live side by side, and what ends is what was begun.
A GPU is /dev/null: SLURM counts it and hands it out, no job could tell. Memory is watched by
polling, as cgroups may not be there: a step that holds more than its job asked for is killed.

A folder `bin` holds SLURM's commands as they speak to this cluster: who has it first on PATH is its
user. (SLURM_CONF alone would not do: Snakemake's plugin takes it from what runs inside of a job.)

With accounting, a MariaDB and slurmdbd are started too, so that `sacct` answers; without, it does
not.

Limits: the nodes share the cores and the memory that the machine has, whatever they claim. Debian's
SLURM 22.05 and later; as root, as SLURM is meant to be run.

Command line: python tests/slurm_cluster.py FOLDER [NODES] runs a cluster until Ctrl-C; with a third
word, whatever it is, one with accounting.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

DAEMONS = "munged", "slurmctld", "slurmd"
ACCOUNTING = "slurmdbd", "mariadbd", "mariadb-install-db", "my_print_defaults"
COMMANDS = "sbatch", "srun", "squeue", "sinfo", "sacct", "scontrol", "scancel"
CPUS, MEMORY_MB = 16, 64_000  # that a node claims to have
CONF = """\
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
{accounting}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=300
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket"""
DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
PidFile={folder}/slurmdbd.pid
"""
USERS = """\
create user slurm@'127.0.0.1' identified by '{password}';
grant all on slurm.* to slurm@'127.0.0.1';
"""


def missing(*, accounting: bool = False) -> str:
    """Why there can be no cluster on this machine, in a sentence; empty if there can."""
    needed = DAEMONS + COMMANDS + (ACCOUNTING if accounting else ())
    absent = [name for name in needed if not _path(name)]
    if absent:
        packages = "slurm-wlm munge" + (
            " slurmdbd mariadb-server-core mariadb-client-core" if accounting else ""
        )
        return f"SLURM is not here: no {', '.join(absent)}; apt-get install {packages}"
    return "" if os.getuid() == 0 else "the toy cluster starts SLURM's daemons, which takes root"


def _path(program: str) -> str | None:
    """Where a program is; the system's go before those by which a cluster already speaks."""
    return shutil.which(program, path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))


class Cluster:
    """A running cluster: its nodes' daemons, and what a user asks of it."""

    def __init__(self, folder: Path, nodes: dict[str, subprocess.Popen]):
        self.folder = folder
        self.nodes = nodes
        self.path = f"{folder}/bin:{os.environ['PATH']}"

    def call(self, *command: str) -> str:
        """The output of one of SLURM's commands."""
        done = subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def jobs(self, *states: str) -> list[dict[str, str]]:
        """Jobs in these states, all if none is named: of each its id, rule, node and so on."""
        fields = {"id": "%A", "state": "%T", "node": "%N", "memory": "%m", "minutes": "%l"}
        chosen = ",".join(states) or "all"
        lines = self.call(
            "squeue", "--noheader", "--sort=i", f"--states={chosen}",
            "--format=" + "|".join(fields.values()) + "|%k",
        ).splitlines()  # fmt: skip
        return [dict(zip([*fields, "comment"], line.split("|"), strict=True)) for line in lines]

    def fail(self, node: str) -> None:
        """Let a node die with all that runs on it, and SLURM notice."""
        jobs = self.call("squeue", "--noheader", "--format=%A", f"--nodelist={node}").split()
        self.nodes[node].kill()
        self.nodes[node].wait()
        # Those that report to the controller die first, so that nobody reports what died.
        for is_reporter in (True, False):
            for pid in self._processes(jobs, is_reporter):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=died")
        for job in jobs:  # which SLURM would start again after two minutes
            self.call("scontrol", "update", f"JobId={job}", "StartTime=now")

    def _processes(self, jobs: list[str], is_reporter: bool) -> list[int]:
        """Processes of jobs of this cluster, or SLURM's own that watch over them."""
        found = []
        for path in Path("/proc").iterdir():
            if not path.name.isdigit():
                continue
            try:
                variables = (path / "environ").read_bytes().decode(errors="replace").split("\0")
                title = (path / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"SLURM_CONF={self.folder}/slurm.conf" not in variables:
                continue
            if any(
                title.startswith(f"slurmstepd: [{job}.")
                if is_reporter
                else f"SLURM_JOB_ID={job}" in variables
                for job in jobs
            ):
                found.append(int(path.name))
        return found


@contextmanager
def cluster(folder: Path, *, nodes: int, accounting: bool = False):
    """Start a cluster in an empty folder, and stop it at the end.

    Parameters
    ----------
    folder : Path
        Absolute; shorter than about 80 characters, as sockets' names are.
    nodes : int
        They are called n1, n2, and so on.
    accounting : bool, optional
        Whether jobs are kept in a database, which takes some seconds more to start.

    Yields
    ------
    Cluster

    Raises
    ------
    RuntimeError
        If a daemon does not come up in a minute, with what the daemons said.
    """
    names = [f"n{number + 1}" for number in range(nodes)]
    for path in ("bin", "state", *(f"spool/{name}" for name in names)):
        (folder / path).mkdir(parents=True)
    database, dbd, *ports = _free_ports(len(names) + 3)
    _configure(
        folder,
        names,
        ports,
        WITH_ACCOUNTING.format(folder=folder, port=dbd) if accounting else NO_ACCOUNTING,
    )
    with ExitStack() as ending:

        def start(name, program, *arguments):
            log = ending.enter_context((folder / f"{name}.log").open("w"))
            process = subprocess.Popen(
                [_path(program), *arguments],
                env=os.environ | {"SLURM_CONF": str(folder / "slurm.conf")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the one who started the cluster
            )
            ending.callback(_end, process)
            return process

        start(
            "munged", "munged", "--foreground", "--force",
            *(f"--{key}={folder}/munge.{key.split('-')[0]}"
              for key in ("key-file", "socket", "pid-file", "log-file", "seed-file")),
        )  # fmt: skip
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        if accounting:
            _configure_accounting(folder, database, dbd)
            start(
                "mariadbd", "mariadbd", "--no-defaults", "--user=root", "--bind-address=127.0.0.1",
                f"--datadir={folder}/database", f"--socket={folder}/database.socket",
                f"--pid-file={folder}/mariadbd.pid", f"--init-file={folder}/users.sql",
                f"--port={database}", "--innodb-buffer-pool-size=64M",
            )  # fmt: skip
            _wait(lambda: _listens(database), folder)
            start("slurmdbd", "slurmdbd", "-D")
            _wait(lambda: _listens(dbd), folder)
        start("slurmctld", "slurmctld", "-D")
        running = Cluster(folder, {})
        _wait(lambda: _is_up(running), folder)
        for name in names:
            running.nodes[name] = start(name, "slurmd", "-D", "-N", name)
        _wait(lambda: _idle(running) == nodes, folder)
        ending.callback(_cancel, running)
        yield running


def _configure(folder: Path, names: list[str], ports: list[int], accounting: str) -> None:
    host = _host()
    text = CONF.format(host=host, folder=folder, ports=ports, accounting=accounting)
    for name, port in zip(names, ports[1:], strict=True):
        text += (
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} "
            f"RealMemory={MEMORY_MB} Gres=gpu:1\n"
        )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    gpus = f"NodeName=n[1-{len(names)}] Name=gpu File=/dev/null Flags=nvidia_gpu_env\n"
    (folder / "gres.conf").write_text(gpus, encoding="utf-8")
    for name in COMMANDS:
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_path(name)} "$@"\n')
        command.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)


def _configure_accounting(folder: Path, database: int, dbd: int) -> None:
    """An empty database that one user may fill, and what slurmdbd is to know of it."""
    password = os.urandom(8).hex()
    conf = folder / "slurmdbd.conf"
    conf.touch(mode=0o600)
    conf.write_text(
        DBD_CONF.format(
            folder=folder, host=_host(), port=dbd, database=database, password=password
        ),
        encoding="utf-8",
    )
    (folder / "users.sql").write_text(USERS.format(password=password), encoding="utf-8")
    subprocess.run(
        [
            _path("mariadb-install-db"), "--no-defaults", "--user=root", "--skip-test-db",
            "--auth-root-authentication-method=socket", f"--datadir={folder}/database",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )  # fmt: skip


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _listens(port: int) -> bool:
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(n: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _is_up(running: Cluster) -> bool:
    try:
        return "is UP" in running.call("scontrol", "ping")
    except subprocess.CalledProcessError:  # the controller does not listen yet
        return False


def _idle(running: Cluster) -> int:
    try:
        return sum(map(int, running.call("sinfo", "-h", "-t", "idle", "-o", "%D").split()))
    except subprocess.CalledProcessError:  # it is busy
        return 0


def _wait(ready, folder: Path) -> None:
    begin = time.monotonic()
    while not ready():
        if time.monotonic() - begin > 60:
            logs = [path.read_text()[-2000:] for path in sorted(folder.glob("*.log"))]
            raise RuntimeError("The cluster does not come up:\n" + "\n".join(logs))
        time.sleep(0.1)


def _cancel(running: Cluster) -> None:
    """End all jobs, as they would go on without the daemons."""
    running.call("scancel", "--partition=main")
    running.call("scancel", "--partition=main", "--signal=KILL", "--full")
    begin = time.monotonic()
    while running.jobs("running", "completing") and time.monotonic() - begin < 20:
        time.sleep(0.2)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    where, nodes, *rest = [*sys.argv[1:], "4"] if len(sys.argv) == 2 else sys.argv[1:]
    with cluster(Path(where).absolute(), nodes=int(nodes), accounting=bool(rest)) as toy:
        print(f"export PATH={toy.folder}/bin:$PATH", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
