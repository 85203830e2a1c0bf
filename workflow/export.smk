# export: cells in the formats of other programs; only those that the configuration names.
rule export:
    input:
        labels=STORE / "labels/cells/zarr.json",
        table=TABLE,
        code=code("export"),
    output:
        EXPORT,
    log:
        WORK / "logs/export-{format}.log",
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("export"),
        runtime=runtime("export"),
    params:
        earlier=earlier("track"),
    script:
        "../scripts/export.py"
