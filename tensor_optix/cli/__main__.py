"""`python -m tensor_optix.cli` is the command line, too."""

import sys

from tensor_optix.cli import main

if __name__ == "__main__":
    sys.exit(main())
