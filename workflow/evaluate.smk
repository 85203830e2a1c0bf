# evaluate: final labels against true ones, for samples that bring them.
rule evaluate_truth:
    input:
        summary=SUMMARY,
        truth=paths("truth"),
        code=code("evaluate_truth"),
    output:
        WORK / "truth.json",
    log:
        WORK / "logs/evaluate_truth.log",
    priority: 1  # a truth that cannot be used is to be known before the work
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("evaluate_truth"),
        runtime=runtime("evaluate_truth"),
    params:
        truth=of_sample("truth"),
        listing=listing("truth"),
    script:
        "../scripts/evaluate_truth.py"


rule evaluate:
    input:
        labels=STORE / "labels/cells/zarr.json",
        table=TABLE,
        checked=WORK / "truth.json",
        truth=paths("truth"),
        code=code("evaluate"),
    output:
        scores=report(
            SCORES,
            caption="report/scores.rst",
            category="Scores",
            labels={"sample": "{sample}"},
        ),
        table=SCORE_TABLE,
        matches=MATCHES,
    log:
        WORK / "logs/evaluate.log",
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("evaluate"),
        runtime=runtime("evaluate"),
    params:
        truth=of_sample("truth"),
        shapes=config["evaluate"]["shapes"],
    script:
        "../scripts/evaluate.py"


rule scores:
    input:
        scores=expand(SCORE_TABLE, sample=[name for name in SAMPLES if SAMPLES[name].truth]),
        code=code("scores"),
    output:
        RESULTS / "scores.parquet",
    log:
        RESULTS / "work/scores.log",
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("scores"),
        runtime=runtime("scores"),
    script:
        "../scripts/scores.py"
