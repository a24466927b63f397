"""`python -m alexnet_impl` is the `alexnet` command."""

import sys

from alexnet_impl.cli import main

if __name__ == "__main__":
    sys.exit(main())
