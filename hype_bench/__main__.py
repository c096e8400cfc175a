"""``hype-bench``, also ``python -m hype_bench``: what needs the extra ``bench``, which training scripts do without."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from hype_bench.cli import main as start

        start()  # a verb imports what it needs when it runs
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hype_bench"):
            raise
        needs = "pip install 'hype-bench[bench]' installs what hype-bench needs"
        print(f"error: {error.name} is not installed; {needs}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
