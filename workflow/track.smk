# track: cells linked over time, and the tracks in the formats of other programs; off unless set.
if config["track"]:

    rule track:
        input:
            table=TABLE,
            code=code("track"),
        output:
            TRACKS,
        log:
            WORK / "logs/track.log",
        conda:
            "../envs/environment.yaml"
        resources:
            mem_mb=memory("track"),
            runtime=runtime("track"),
        params:
            **config["track"],
            earlier=earlier("track"),
        script:
            "../scripts/track.py"

    rule track_export:
        input:
            labels=STORE / "labels/cells/zarr.json",
            table=TABLE,
            tracks=TRACKS,
            code=code("track_export"),
        output:
            TRACKED,
        log:
            WORK / "logs/track_export-{format}.log",
        conda:
            "../envs/environment.yaml"
        resources:
            mem_mb=memory("track_export"),
            runtime=runtime("track_export"),
        params:
            earlier=earlier("track"),
        script:
            "../scripts/track_export.py"
