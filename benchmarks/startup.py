"""How long `scvec --help` takes, relative to a Python that does nothing.

python -m benchmarks.startup
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks.common import make_parser, markdown, save

COMMANDS = {"python -c pass": ["-c", "pass"], "scvec --help": ["-m", "scvec", "--help"]}
N_ROUNDS = 15


def main() -> None:
    make_parser("startup", __doc__).parse_args()
    timed: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(N_ROUNDS):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            timed[name].append(time.perf_counter() - start)
    medians = {name: median(one) for name, one in timed.items()}
    ratio = medians["scvec --help"] / medians["python -c pass"]
    rows = [(name, f"{1000 * one:.0f}") for name, one in medians.items()]
    said = f"`scvec --help` takes {ratio:.1f} times as long as an empty Python (medians of {N_ROUNDS}, in turn)."
    text = f"# Start-up\n\n{said}\n\n{markdown(('command', 'ms'), rows)}"
    save("startup", "python -m benchmarks.startup", {"ratio": round(ratio, 2)}, text)


if __name__ == "__main__":
    main()
