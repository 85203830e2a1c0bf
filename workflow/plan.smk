# plan: what a run would take, before anything runs; made when asked for: snakemake plan
rule plan:
    log:
        RESULTS / "plan.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        config=lambda wildcards: config,
        samples=lambda wildcards: SAMPLES,
        card=lambda wildcards: ABOUT_MODEL,
        predict_threads=gpu_job_threads,
    script:
        "../scripts/plan.py"
