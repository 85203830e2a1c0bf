# One run at a time at the results of a sample, from wherever it was started. No rules here.
import sys

from mosaicell.lock import doubt, lock

HELD = []  # the lock files, open for as long as this run lasts


# Snakemake itself locks the folder in which it was started, not that of the results. Jobs on other
# machines do not come here.
onstart:
    for sample in sorted(
        {getattr(job.wildcards, "sample", "") for job in workflow.dag.needrun_jobs()} - {""}
    ):
        path = Path(str(WORK).format(sample=sample)) / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        HELD.append(path.open("a"))
        if not lock(HELD[-1]):
            raise WorkflowError(
                f"sample {sample!r} is being worked on by another run with the same results "
                f"({RESULTS.resolve()}); allowed is one at a time: wait until it has ended, or end it"
            )
    for held in HELD[:1]:  # they are all on the disk of the results
        if why := doubt(held):
            print(
                f"Careful: nothing keeps a second run from the results in {RESULTS.resolve()}, since "
                f"their file system {why}; start no other one until this one has ended",
                file=sys.stderr,
            )
