"""`python -m training COMMAND`: learn an encoder, judge it, use it, pass it on."""

import argparse
import sys
from collections.abc import Sequence

from training import check, embed, finetune, plan, supervised, train
from training.evaluation import command as evaluate
from training.interchange import export_command, import_command
from training.report import command as report

COMMANDS = {
    "train": (train, "train an encoder on a folder of images"),
    "supervised": (supervised, "train the same network by labels alone, as a baseline"),
    "finetune": (finetune, "train a checkpoint on by a few labels"),
    "plan": (plan, "say what training would take, in memory and time"),
    "evaluate": (evaluate, "probe a checkpoint beside its baselines"),
    "report": (report, "write one HTML page on a run"),
    "embed": (embed, "write the embeddings of images to a file"),
    "check": (check, "name every file that cannot be used, and why"),
    "import": (import_command, "make a checkpoint of another project's"),
    "export": (export_command, "write a checkpoint as ONNX or for a model hub"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 for success, 2 for what the user must mend."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    args.words = sys.argv[1:] if argv is None else list(argv)
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
