# train: synthetic nuclei -> weights and card; made when asked for: snakemake results/models/NAME.safetensors
rule train:
    input:
        code=code("train"),
    output:
        weights=MODELS / "{model}.safetensors",
        card=MODELS / "{model}.json",
    log:
        MODELS / "{model}.log",
    conda:
        "../envs/environment.yaml"
    threads: workflow.cores or 16
    resources:
        gpu=1,
    params:
        **config["train"],
    script:
        "../scripts/train.py"
