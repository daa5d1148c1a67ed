"""`matching evaluate` and `matching fit`: the matching engine on histories, without a running stack."""

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from matching.evaluation.history import HistoryError


def evaluate_tool(commands: "argparse._SubParsersAction[Any]") -> None:
    """`matching evaluate DIR [--decisions OUT] [--pairs]`: learns on the train part, decides on the test part, prints one JSON object."""
    parser = commands.add_parser("evaluate", help="run the matching engine on a folder of histories with the truth beside them")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--pairs", action="store_true", help="the folder holds SAP-like tables of payments, invoices and matches")
    parser.add_argument("--decisions", type=Path, metavar="OUT", help="write each decision with its evidence as a line of JSON")
    parser.set_defaults(run=_evaluate)


def fit_tool(commands: "argparse._SubParsersAction[Any]") -> None:
    """`matching fit DIR... --out FILE`: learns the confidence on whole histories, prints the certificate of its threshold."""
    parser = commands.add_parser("fit", help="learn a matching model from folders of histories")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=_fit)


def _evaluate(args: argparse.Namespace) -> int:
    """Exit status 1 when the folder cannot be read, 2 when the decisions cannot be written."""
    from matching.evaluation.pairs import evaluate_pairs  # noqa: PLC0415 - scikit-learn is loaded only where it is needed
    from matching.evaluation.report import evaluate  # noqa: PLC0415 - the same

    try:
        with ExitStack() as stack:
            out = stack.enter_context(args.decisions.open("w", encoding="utf-8")) if args.decisions else None
            answer = evaluate_pairs(args.folder) if args.pairs else evaluate(args.folder, out)
    except HistoryError as error:
        print(f"matching evaluate: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    except OSError as error:
        print(f"matching evaluate: {args.decisions}: {error.strerror}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 2
    print(json.dumps(answer, ensure_ascii=False))  # noqa: T201 - a command's answer
    return 0


def _fit(args: argparse.Namespace) -> int:
    """Exit status 1 when a folder cannot be read."""
    from matching.evaluation.report import fitted  # noqa: PLC0415 - scikit-learn is loaded only where it is needed

    try:
        model, certificate = fitted(args.folders)
    except HistoryError as error:
        print(f"matching fit: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    held = {**model.as_dict(), "certificate": certificate.as_dict()}
    args.out.write_text(json.dumps(held, separators=(",", ":")), encoding="utf-8")
    print(json.dumps({"model": model.name, "trees": len(model.trees), "certificate": certificate.as_dict()}))  # noqa: T201 - a command's answer
    return 0
