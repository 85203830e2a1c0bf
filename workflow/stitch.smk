# stitch: fragments of all tiles -> cells; the one step that sees the whole sample.
rule stitch:
    input:
        summary=SUMMARY,
        segmented=expand(WORK / "segment/{job}.json", job=JOBS, allow_missing=True),
        code=code("stitch"),
    output:
        WORK / "stitch.json",
    log:
        WORK / "logs/stitch.log",
    benchmark:
        WORK / "benchmarks/stitch.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        store=str(STORE),
        products=[str(TABLE), str(SCORES), str(REPORT)],
        persistence=config["segment"]["persistence"],
        min_size=config["segment"]["min_size"],
    script:
        "../scripts/stitch.py"
