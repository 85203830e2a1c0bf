# evaluate: final labels against true ones, for samples that bring them.
rule evaluate:
    input:
        labels=STORE / "labels/cells/zarr.json",
        table=TABLE,
        truth=lambda wildcards: SAMPLES[wildcards.sample].truth,
        code=code("evaluate"),
    output:
        SCORES,
    log:
        WORK / "logs/evaluate.log",
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/evaluate.py"
