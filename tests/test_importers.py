"""The table of data sets is what the folder holds."""

import pkgutil
from importlib import import_module

import pytest

from tmcli import importers
from tmcli.errors import UsageError


def test_the_table_is_the_folder() -> None:
    assert sorted(module.name for module in pkgutil.iter_modules(importers.__path__)) == list(
        importers.IMPORTERS
    )
    assert set(importers.SERVED) <= set(importers.IMPORTERS)
    for name in importers.IMPORTERS:
        assert callable(import_module(f"tmcli.importers.{name}").read)


def test_names_files_and_servers() -> None:
    with pytest.raises(UsageError, match="no data set is named 'tolhop'; did you mean 'toolhop'"):
        importers.read("tolhop", "x")
    with pytest.raises(UsageError, match="--from toolhop needs a file; write: tm tasks --from toolhop FILE"):
        importers.read("toolhop", None)
    with pytest.raises(UsageError, match="the tools of bfcl are not behind a server"):
        importers.read("bfcl", "x", "http://localhost:1")
