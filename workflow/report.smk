# report: pictures, counts and distributions of a sample, in one HTML file.
rule report:
    input:
        cells=TABLE,
        labels=STORE / "labels/cells/zarr.json",
        summary=SUMMARY,
        stitched=WORK / "stitch.json",
        written=expand(WORK / "labels/{job}.json", job=JOBS, allow_missing=True),
        estimate=estimated_diameter,
        curves=curves,
        scores=lambda wildcards: SCORES if SAMPLES[wildcards.sample].truth else [],
        matches=lambda wildcards: MATCHES if SAMPLES[wildcards.sample].truth else [],
        code=code("report"),
        template=str(checking.SCHEMAS.parent / "mosaicell" / "report" / "page.html.j2"),
    output:
        report=report(
            REPORT,
            caption="report/report.rst",
            category="Reports",
            labels={"sample": "{sample}"},
        ),
    log:
        WORK / "logs/report.log",
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=memory("report"),
        runtime=runtime("report"),
    params:
        sample="{sample}",
        channel=of_sample("channel"),
        truth=of_sample("truth"),
        facts=lambda wildcards: origins.facts(config, SAMPLES[wildcards.sample], ABOUT_MODEL),
        benchmarks=lambda wildcards: benchmarks(wildcards.sample),
    script:
        "../scripts/report.py"
