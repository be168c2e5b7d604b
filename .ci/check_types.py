"""Types by mypy: no error in the packages below, elsewhere no more than the recorded number.

The number, in `mypy_errors.txt` beside this file, only falls: who repairs errors lowers it.
"""

import re
import subprocess
import sys
from pathlib import Path

CLEAN = re.compile(
    r"ood_seg/(apis|calibration|checkpoints|compat|config_files|deploy|detectors|engine|environment"
    r"|evaluation|export|full_resolution|io|labels|losses|margins|metrics|models|outlier_priors"
    r"|pasting|perception|precision|register|ros|row_interpolation|scores|serving|smoothing"
    r"|startup)\b"
)
RECORD = Path(__file__).with_name("mypy_errors.txt")


def main() -> int:
    """Print the errors that are not allowed and return 1 if there are any."""
    done = subprocess.run([sys.executable, "-m", "mypy"], capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    if done.returncode and not errors:
        print(done.stdout + done.stderr)
        return 1
    in_clean = [line for line in errors if CLEAN.match(line)]
    elsewhere = [line for line in errors if not CLEAN.match(line)]
    recorded = int(RECORD.read_text())
    grown = len(elsewhere) > recorded
    print("\n".join([*in_clean, *(elsewhere if grown else ())]))
    print(f"mypy: {len(in_clean)} errors in clean packages; {len(elsewhere)} in the others", end="")
    print(f", at most {recorded} allowed", end="")
    print(f": write the new number into {RECORD}" if len(elsewhere) < recorded else "")
    return int(bool(in_clean) or grown)


if __name__ == "__main__":
    sys.exit(main())
