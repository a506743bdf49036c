"""``python -m faircut.pocket.train``: the training from the command line."""

from __future__ import annotations

import argparse
import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and train.

    Args:
        argv: the arguments; the process's own by default.

    Returns:
        0, or 2 after a message about wrong settings.
    """
    # Processes that share the cores must not spin while they wait for each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from faircut.errors import FaircutError
    from faircut.pocket.train.config import load_config
    from faircut.pocket.train.stages import STAGES, train

    parser = argparse.ArgumentParser(prog="python -m faircut.pocket.train", description="Train the pocket model.")
    parser.add_argument(
        "--stage", action="append", choices=["all", *STAGES], help="what to run; repeatable (default: all)"
    )
    parser.add_argument("--minutes", type=float, help="time limit, over all runs in the same output folder")
    parser.add_argument("--config", help="YAML or JSON file with settings that differ from the defaults")
    parser.add_argument("--output", help="folder of data, checkpoints and results (default: in the user's cache)")
    parser.add_argument("--weights", help="folder for the finished model (default: OUTPUT/weights)")
    parser.add_argument("--init-from", help="model folder to start from, such as the shipped one")
    args = parser.parse_args(argv)
    try:
        train(
            load_config(args.config),
            args.stage or ["all"],
            output=args.output,
            minutes=args.minutes,
            init_from=args.init_from,
            weights=args.weights,
            log=lambda line: print(line, flush=True),
        )
    except FaircutError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
