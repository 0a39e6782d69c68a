"""``python -m bertkd_fairseq.cli`` is ``bertkd``."""

import sys

from bertkd_fairseq.cli import main

if __name__ == "__main__":
    sys.exit(main())
