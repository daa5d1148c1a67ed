"""Puts the package `contracts` where pytest has put a namespace made of this folder, which bears the same name."""  # noqa: INP001 - pytest loads it by path

import importlib
import sys

if getattr(sys.modules.get("contracts"), "__file__", None) is None:
    sys.modules.pop("contracts", None)
    importlib.import_module("contracts")
