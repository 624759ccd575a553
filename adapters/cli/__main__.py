"""`python -m adapters.cli` is the same as `milepost`."""

import sys

from adapters.cli import main

sys.exit(main())
