# segment: landscape -> fragments of basins, tile by tile.
rule segment:
    input:
        summary=SUMMARY,
        landscape=LANDSCAPE / "zarr.json",
        predictions=predictions,
        code=code("segment"),
    output:
        WORK / "segment/{job}.json",
    log:
        WORK / "logs/segment-{job}.log",
    benchmark:
        WORK / "benchmarks/segment-{job}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("segment"),
        runtime=runtime("segment"),
    params:
        jobs=len(JOBS),
        tile_shape=config["tile"]["shape"],
        threshold=config["segment"]["threshold"],
        sigma=config["segment"]["sigma"],
        earlier=earlier("segment"),
    script:
        "../scripts/segment.py"
