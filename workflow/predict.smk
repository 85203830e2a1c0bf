# predict: image -> landscape, by a network; left out for samples that bring their own landscape.
rule predict:
    input:
        summary=SUMMARY,
        group=STORE / "zarr.json",
        landscape=LANDSCAPE / "zarr.json",
        weights=str(WEIGHTS),
        card=str(CARD),
        code=code("predict"),
    output:
        WORK / "predict/{job}.json",
    log:
        WORK / "logs/predict-{job}.log",
    benchmark:
        WORK / "benchmarks/predict-{job}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: gpu_job_threads
    resources:
        mem_mb=memory("predict"),
        runtime=runtime("predict"),
        gpu=1,
    params:
        jobs=len(JOBS),
        channel=of_sample("channel"),
        top_model=config["segment"]["top_model"],
        earlier=earlier("predict"),
        diameter=lambda wildcards: settings.diameter(config, SAMPLES[wildcards.sample]),
    script:
        "../scripts/predict.py"
