"""The house: one set of pins, clean code, short modules, licences beside data."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from running import ROOT


def pins():
    lines = (ROOT / "envs/constraints.txt").read_text(encoding="utf-8").splitlines()
    return {name.lower(): version for name, version in (x.split("==") for x in lines if "==" in x)}


def test_conda_and_pip_have_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs/environment.yaml").read_text(encoding="utf-8"))
    listed = dict(line.split("==") for line in environment["dependencies"][-1]["pip"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + extras["workflow"] + extras["track"] + extras["bioimageio"]
    assert set(listed) == {re.split("[<>=]", name)[0].lower() for name in needed}
    assert listed.items() <= pins().items()


def test_the_repository_speaks_of_no_package_host():
    for path in (ROOT / "envs").iterdir():
        assert "://" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", sorted((ROOT / "config/demo/data").iterdir()), ids=str)
def test_data_carry_their_licence_and_source(folder):
    assert (folder / "LICENSE").stat().st_size > 500
    assert "Source:" in (folder / "SOURCE.md").read_text(encoding="utf-8")


def test_importing_the_library_loads_neither_torch_nor_pandas():
    code = "import sys, mosaicell; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow", check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "check",
    [
        ["snakemake", "--lint"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
    ],
    ids=" ".join,
)
def test_the_code_is_clean(check):
    name, *arguments = check
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
