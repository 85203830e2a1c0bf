# measure: final labels, then every cell on its complete crop, then the tables.
rule check_measure:
    input:
        image=paths("image"),
        code=code("check_measure"),
    output:
        WORK / "check_measure.json",
    log:
        WORK / "logs/check_measure.log",
    priority: 1  # what cannot be measured is to be known before the work
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("check_measure"),
        runtime=runtime("check_measure"),
    params:
        image=of_sample("image"),
        measure=config["measure"],
        voxel_size=of_sample("voxel_size"),
        listing=listing("image"),
    script:
        "../scripts/check_measure.py"


rule measure_labels:
    input:
        group=STORE / "zarr.json",
        stitched=WORK / "stitch.json",
        summary=SUMMARY,
        code=code("measure_labels"),
    output:
        WORK / "labels/{job}.json",
    log:
        WORK / "logs/measure_labels-{job}.log",
    benchmark:
        WORK / "benchmarks/measure_labels-{job}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("measure_labels"),
        runtime=runtime("measure_labels"),
    params:
        jobs=len(JOBS),
        earlier=earlier("measure"),
    script:
        "../scripts/measure_labels.py"


rule measure_cells:
    input:
        group=STORE / "zarr.json",
        stitched=WORK / "stitch.json",
        labels=expand(WORK / "labels/{job}.json", job=JOBS, allow_missing=True),
        summary=SUMMARY,
        landscape=LANDSCAPE / "zarr.json",
        predictions=predictions,
        checked=WORK / "check_measure.json",
        code=code("measure_cells"),
    output:
        WORK / "measure/{job}.json",
    log:
        WORK / "logs/measure_cells-{job}.log",
    benchmark:
        WORK / "benchmarks/measure_cells-{job}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("measure_cells"),
        runtime=runtime("measure_cells"),
    params:
        jobs=len(JOBS),
        measure=config["measure"],
        threshold=config["segment"]["threshold"],
        sigma=config["segment"]["sigma"],
        earlier=earlier("measure"),
    script:
        "../scripts/measure_cells.py"


rule measure:
    input:
        group=STORE / "zarr.json",
        stitched=WORK / "stitch.json",
        measured=expand(WORK / "measure/{job}.json", job=JOBS, allow_missing=True),
        summary=SUMMARY,
        code=code("measure"),
    output:
        table=TABLE,
        frames=FRAMES,
        neighbours=NEIGHBOURS,
        labels=STORE / "labels/cells/zarr.json",
    log:
        WORK / "logs/measure.log",
    benchmark:
        WORK / "benchmarks/measure.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("measure"),
        runtime=runtime("measure"),
    params:
        earlier=earlier("measure"),
        origin=lambda wildcards: origins.origin(config, SAMPLES[wildcards.sample], ABOUT_MODEL),
    script:
        "../scripts/measure.py"
