# train: labelled images, synthetic nuclei, or both -> weights, card, curves; made when asked for:
# snakemake results/models/NAME.safetensors
rule train:
    input:
        start=list(map(str, START)),
        code=code("train"),
    output:
        weights=MODELS / "{model}.safetensors",
        card=MODELS / "{model}.json",
        curves=MODELS / "{model}.png",
    log:
        MODELS / "{model}.log",
    conda:
        "../envs/environment.yaml"
    threads: gpu_job_threads
    resources:
        mem_mb=memory("train"),
        runtime=runtime("train"),
        gpu=1,
    params:
        **config["train"],
        labelled=LABELLED,
    script:
        "../scripts/train.py"
