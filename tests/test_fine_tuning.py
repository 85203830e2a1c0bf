"""Fine-tuning: the tutorial's own commands make a shipped model better on images it never saw."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mosaicell import model
from running import ROOT

TUTORIAL = (ROOT / "docs/fine_tuning.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL)
COMPARE = re.search(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)[1]


def test_the_configuration_of_the_tutorial_is_the_file_of_that_name():
    shown = re.search(r"```yaml\n(.*?)```", TUTORIAL, re.DOTALL)[1]
    path = ROOT / "config/demo/fine_tuning/config.yaml"
    assert yaml.safe_load(shown) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.networks
def test_twelve_crops_make_a_shipped_model_better_on_images_that_were_not_trained_on(tmp_path):
    for name in ("Snakefile", "workflow", "scripts", "envs", "profiles", "config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    said = subprocess.run(
        [sys.executable, "-c", COMPARE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    print(said.stdout)
    lines = [line.split() for line in said.stdout.splitlines()]
    (_, *before), (_, *after) = ([name, *map(float, f1)] for name, *f1 in lines)
    assert after[1] > before[1]  # F1 at IoU 0.75
    assert after[0] > before[0] - 0.02  # at IoU 0.5
    card = model.card(tmp_path / "results/fine_tuning/models/crowded.safetensors")
    assert card["training"]["start_from"]["name"] == "nuclei-2d"
    assert card["architecture"] == model.card("nuclei-2d")["architecture"]
