# predict: image -> landscape, by a network; left out for samples that bring their own landscape.
# Before that the diameter of cells is estimated, where it is `auto`.
rule estimate_diameter:
    input:
        summary=SUMMARY,
        group=STORE / "zarr.json",
        weights=str(WEIGHTS),
        card=str(CARD),
        code=code("estimate_diameter"),
    output:
        DIAMETER,
    log:
        WORK / "logs/estimate_diameter.log",
    benchmark:
        WORK / "benchmarks/estimate_diameter.tsv"
    conda:
        "../envs/environment.yaml"
    threads: gpu_job_threads
    resources:
        mem_mb=memory("estimate_diameter"),
        runtime=runtime("estimate_diameter"),
        gpu=1,
    params:
        channel=of_sample("channel"),
        top_model=config["segment"]["top_model"],
        earlier=earlier("estimate_diameter"),
    script:
        "../scripts/estimate_diameter.py"


rule predict:
    input:
        summary=SUMMARY,
        group=STORE / "zarr.json",
        landscape=LANDSCAPE / "zarr.json",
        estimate=estimated_diameter,
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
