"""The `lexor` command with carried packages at the end of the path: what is installed comes before them."""

from __future__ import annotations

import os
import sys

sys.path.append(os.environ["LEXOR_CARRIED"])

from lexor.cli import main

if __name__ == "__main__":  # spawned processes import this file again, for the path
    main()
