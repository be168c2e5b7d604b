"""`python -m ood_seg` is the command `ood-seg`."""

import sys

from ood_seg.commands import main

sys.exit(main())
