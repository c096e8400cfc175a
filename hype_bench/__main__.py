"""``hype-bench``, also ``python -m hype_bench``: what needs the extra ``bench``, which training scripts do without."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from hype_bench.cli import main as start
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hype_bench"):
            raise
        print(f"error: {error.name} is not installed: pip install 'hype-bench[bench]'", file=sys.stderr)
        raise SystemExit(2) from error
    start()


if __name__ == "__main__":
    main()
