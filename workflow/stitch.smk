# stitch: what each tile can decide alone, then cells; the last step sees the whole sample.
rule stitch_tiles:
    input:
        summary=SUMMARY,
        segmented=expand(WORK / "segment/{job}.json", job=JOBS, allow_missing=True),
        code=code("stitch_tiles"),
    output:
        WORK / "stitch_tiles/{job}.json",
    log:
        WORK / "logs/stitch_tiles-{job}.log",
    benchmark:
        WORK / "benchmarks/stitch_tiles-{job}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("stitch_tiles"),
        runtime=runtime("stitch_tiles"),
    params:
        jobs=len(JOBS),
        persistence=config["segment"]["persistence"],
        earlier=earlier("stitch_tiles"),
    script:
        "../scripts/stitch_tiles.py"


rule stitch:
    input:
        summary=SUMMARY,
        segmented=expand(WORK / "segment/{job}.json", job=JOBS, allow_missing=True),
        contracted=expand(WORK / "stitch_tiles/{job}.json", job=JOBS, allow_missing=True),
        code=code("stitch"),
    output:
        WORK / "stitch.json",
    log:
        WORK / "logs/stitch.log",
    benchmark:
        WORK / "benchmarks/stitch.tsv"
    conda:
        "../envs/environment.yaml"
    threads: resources.THREADS["stitch"]
    resources:
        mem_mb=memory("stitch"),
        runtime=runtime("stitch"),
    params:
        store=str(STORE),
        products=[str(path) for path in (TABLE, NEIGHBOURS, FRAMES, SCORES, REPORT, TRACKS)]
        + expand([EXPORT, TRACKED], format=FORMATS, allow_missing=True),
        persistence=config["segment"]["persistence"],
        min_size=config["segment"]["min_size"],
        min_peak=least("min_peak"),
        min_relative_peak=least("min_relative_peak"),
        earlier=earlier("stitch"),
    script:
        "../scripts/stitch.py"
