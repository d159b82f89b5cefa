"""`make fuzz`: the fuzzing of the API that `make test` does, for longer and each time with another seed.

ARGS="--cases 500 --seed 7": how many cases a call, scope and mode gets; the seed of an earlier run, to see it again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys

import pytest


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    options = parser.parse_args()
    print(f"{options.cases} cases a call; seed {options.seed}", flush=True)
    os.environ["RELEASE_TEST_FUZZ_CASES"] = str(options.cases)
    arguments = [
        "tests/releasesite/api/test_fuzzed.py",
        f"--hypothesis-seed={options.seed}",
        "--timeout=0",
        "-q",
        "-rP",
    ]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
