# Configuration, samples and paths: what the rules of all stages share. No rules here.
from pathlib import Path

import checking
import origins
import resources
import settings
import sheets
from mosaicell import model
from snakemake.exceptions import WorkflowError

try:
    config.update(settings.read_config(config))
    SAMPLES = sheets.read_samples(
        config["samples"], config["results"], config["predict"]["channel"]
    )
    WEIGHTS, CARD = model.find(config["predict"]["model"])
    ABOUT_MODEL = model.card(WEIGHTS)
    settings.fill_from_model(config, SAMPLES, ABOUT_MODEL)
    settings.check_heights(config, SAMPLES)
    settings.check_scale(config, SAMPLES, ABOUT_MODEL)
    settings.check_sigma(config, SAMPLES)
    settings.check_measure(config, SAMPLES)
    settings.check_track(config)
    LABELLED = sheets.read_training(config["train"]["data"])
    START = model.find(config["train"]["start_from"]) if config["train"]["start_from"] else []
except (FileNotFoundError, ValueError) as error:
    raise WorkflowError(str(error)) from None

JOBS = range(config["tile"]["jobs"])
RESULTS = Path(config["results"])
STORE = RESULTS / "{sample}" / "{sample}.ome.zarr"
TABLE = RESULTS / "{sample}" / "cells.parquet"
FRAMES = RESULTS / "{sample}" / "frames.parquet"
NEIGHBOURS = RESULTS / "{sample}" / "neighbours.parquet"
REPORT = RESULTS / "{sample}" / "report.html"
SCORES = RESULTS / "{sample}" / "scores.json"
SCORE_TABLE = RESULTS / "{sample}" / "scores.parquet"
MATCHES = RESULTS / "{sample}" / "matches.parquet"
EXPORT = RESULTS / "{sample}" / "export" / "{format}" / "about.json"
TRACKS = RESULTS / "{sample}" / "tracks.parquet"
TRACKED = RESULTS / "{sample}" / "tracks" / "{format}" / "about.json"
FORMATS = checking.schema("config")["properties"]["export"]["items"]["enum"]
WORK = RESULTS / "work" / "{sample}"
MODELS = RESULTS / "models"
SUMMARY = WORK / "ingest.json"
DIAMETER = WORK / "diameter.json"
LANDSCAPE = WORK / "landscape.zarr"


wildcard_constraints:
    sample="|".join(SAMPLES),
    job="[0-9]+",
    format="[a-z]+",
    model="[A-Za-z0-9][A-Za-z0-9_-]*",


def code(script):
    """Library files that a rule depends on through its script, as an input."""
    return [str(path) for path in origins.library(script)]


def of_sample(field):
    """A value of the sample sheet, as a function of a rule's wildcards."""
    return lambda wildcards: getattr(SAMPLES[wildcards.sample], field)


def paths(field):
    """The files or folders of a column of the sample sheet, as a function of a rule's wildcards."""
    return lambda wildcards: [part.path for part in getattr(SAMPLES[wildcards.sample], field)]


def listing(field):
    """What is in the folders that the sample sheet names, as a function of a rule's wildcards."""
    return lambda wildcards: sheets.listings(getattr(SAMPLES[wildcards.sample], field))


def earlier(stage):
    """What the stages before one are given, for `params`, as a function of a rule's wildcards.

    Snakemake forgets a job that failed. If a stage failed under new settings, it is by this that
    those after it are known to be of the old ones.
    """
    return lambda wildcards: origins.earlier(stage, config, SAMPLES[wildcards.sample], ABOUT_MODEL)


def least(key):
    """One of the least peaks of a sample's cells, as a function of a rule's wildcards."""

    def chosen(wildcards):
        return settings.least_peaks(config, SAMPLES[wildcards.sample], ABOUT_MODEL)[key]

    return chosen


def load(wildcards):
    """What is known of the work on a sample; a model in training has none."""
    name = wildcards.get("sample")
    summary, estimate = (Path(str(path).format(sample=name)) for path in (SUMMARY, DIAMETER))
    return resources.load(config, SAMPLES.get(name), ABOUT_MODEL, summary, estimate)


def memory(stage):
    """Memory (MB) of a stage's jobs, as a function of what Snakemake knows of a job."""
    return lambda wildcards, threads, attempt: resources.memory(
        stage, load(wildcards), threads=threads, attempt=attempt
    )


def runtime(stage):
    """Minutes that a stage's jobs may take, as a function of what Snakemake knows of a job."""
    return lambda wildcards, threads, attempt: resources.runtime(
        stage, load(wildcards), threads=threads, attempt=attempt
    )


def gpu_job_threads(wildcards):
    """A job with a GPU, or in place of one, has all cores of one machine, but not of a cluster."""
    if workflow.remote_exec or workflow.non_local_exec:
        return resources.GPU_JOB_THREADS
    return workflow.cores


def benchmarks(sample):
    """Files in which Snakemake writes what each stage of a sample took."""
    folder = str(WORK / "benchmarks").format(sample=sample)
    stages = [
        "ingest",
        "estimate_diameter",
        "predict",
        "segment",
        "stitch_tiles",
        "stitch",
        "measure_labels",
        "measure_cells",
        "measure",
    ]
    if settings.diameter(config, SAMPLES[sample]) != "auto":
        stages.remove("estimate_diameter")
    if SAMPLES[sample].landscape:
        stages.remove("predict")
    once = {"ingest", "estimate_diameter", "stitch", "measure"}
    return {
        stage: (
            [f"{folder}/{stage}.tsv"]
            if stage in once
            else [f"{folder}/{stage}-{job}.tsv" for job in JOBS]
        )
        for stage in stages
    }


def estimated_diameter(wildcards):
    """The record of the diameter, if it is to be estimated."""
    is_auto = settings.diameter(config, SAMPLES[wildcards.sample]) == "auto"
    return DIAMETER if is_auto else []


def curves(wildcards):
    """The course of the model's training, if that has left it and the model predicts the sample."""
    beside = WEIGHTS.with_suffix(".png")
    return [] if SAMPLES[wildcards.sample].landscape or not beside.exists() else [str(beside)]


def predictions(wildcards):
    """What the landscape waits for: nothing if the sample brings it."""
    if SAMPLES[wildcards.sample].landscape:
        return []
    return expand(WORK / "predict/{job}.json", job=JOBS, sample=wildcards.sample)
