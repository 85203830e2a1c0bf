"""Say what a run would take: looks into the headers of the images, and at no voxel."""

import sys

import planning
from mosaicell.progress import logged

with logged(snakemake.log[0], threads=snakemake.threads):
    params = snakemake.params
    loads = {
        name: planning.look(params.config, sample, params.card)
        for name, sample in params.samples.items()
    }
    print(planning.plan(loads, predict_threads=params.predict_threads), file=sys.stderr)
