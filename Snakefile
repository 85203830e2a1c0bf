# Mosaicell: microscopy volumes to cells. One file of rules a stage, in the order in which they run.
configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/common.smk"
include: "workflow/lock.smk"
include: "workflow/ingest.smk"
include: "workflow/predict.smk"
include: "workflow/segment.smk"
include: "workflow/stitch.smk"
include: "workflow/measure.smk"
include: "workflow/evaluate.smk"
include: "workflow/report.smk"
include: "workflow/export.smk"
include: "workflow/track.smk"
include: "workflow/train.smk"
include: "workflow/plan.smk"


rule all:
    default_target: True
    input:
        expand(TABLE, sample=SAMPLES),
        expand(NEIGHBOURS, sample=SAMPLES),
        expand(REPORT, sample=SAMPLES),
        expand(EXPORT, sample=SAMPLES, format=config["export"]),
        expand(TRACKS, sample=SAMPLES if config["track"] else []),
        expand(TRACKED, sample=SAMPLES, format=(config["track"] or {}).get("formats", [])),
