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
    threads: gpu_job_threads
    resources:
        mem_mb=memory("train"),
        runtime=runtime("train"),
        gpu=1,
    params:
        **config["train"],
    script:
        "../scripts/train.py"
