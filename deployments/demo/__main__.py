"""`python -m deployments.demo`."""

import sys

from deployments.demo.clips import make_clips
from deployments.demo.sample import console
from deployments.demo.shorts import make_shorts
from deployments.local_stack import StackError, running_stack


def main() -> int:
    """Exit code: 0 only if every clip and every short came out right."""
    console.print("Starting the local stack …")
    try:
        with running_stack() as stack:
            clips = make_clips(stack)
            shorts = make_shorts(stack)
    except StackError as error:
        console.print(f"{error}. Where `make up` runs, end it first.", markup=False)
        return 1
    if not (clips and shorts):
        return 1
    console.print("Watch them in out/. `make up` starts the stack again with all of this in it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
