"""`import pirt` is light, and its names are those that its types and its page tell of."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pirt

ROOT = Path(__file__).parents[3]


def test_importing_is_light_and_names_come_when_they_are_asked_for() -> None:
    code = (
        "import sys, pirt\n"
        "heavy = {'torch', 'numpy', 'zarr', 'matplotlib', 'pydantic', 'mmpose', 'pirt_stages'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert pirt.__version__ and 'embed' in dir(pirt) and not heavy & set(sys.modules)\n"
        "pirt.embed\n"
        "assert 'torch' in sys.modules and not {'mmpose', 'pirt_stages'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types_and_names_are_the_same() -> None:
    stub = ast.parse((ROOT / "pirt" / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    typed = {alias.asname: node.module for node in imports for alias in node.names}
    assert typed == pirt._HOMES
    for name in pirt.__all__:
        assert getattr(pirt, name) is not None


def test_every_function_stands_in_the_documentation() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    named = set(re.findall(r"`(\w+)", page)) | set(re.findall(r"pirt\.(\w+)", page))
    assert {name for name in pirt.__all__ if name not in ("EvaluateParams", "Manifest")} <= named


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pirt' has no attribute 'embeds'"):
        pirt.embeds  # noqa: B018
