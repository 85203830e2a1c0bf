# ingest: image files -> OME-Zarr pyramid, histogram, and the array that will hold the landscape.
rule ingest:
    input:
        image=paths("image"),
        landscape=paths("landscape"),
        code=code("ingest"),
    output:
        group=STORE / "zarr.json",
        landscape=LANDSCAPE / "zarr.json",
        summary=SUMMARY,
    log:
        WORK / "logs/ingest.log",
    benchmark:
        WORK / "benchmarks/ingest.tsv"
    conda:
        "../envs/environment.yaml"
    threads: resources.THREADS["ingest"]
    resources:
        mem_mb=memory("ingest"),
        runtime=runtime("ingest"),
    params:
        image=of_sample("image"),
        landscape=of_sample("landscape"),
        voxel_size=of_sample("voxel_size"),
        channel=of_sample("channel"),
        image_listing=listing("image"),
        landscape_listing=listing("landscape"),
        needs_voxel_size=lambda wildcards: settings.needs_voxel_size(
            config, SAMPLES[wildcards.sample]
        ),
    script:
        "../scripts/ingest.py"
