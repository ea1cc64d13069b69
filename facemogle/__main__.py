"""`python -m facemogle`."""

import sys

from facemogle.cli import main

if __name__ == "__main__":
    sys.exit(main())
