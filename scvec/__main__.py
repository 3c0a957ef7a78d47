"""``python -m scvec``."""

import sys

from scvec.cli import main

sys.exit(main())
