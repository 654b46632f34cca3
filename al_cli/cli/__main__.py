"""`python -m al_cli.cli`: the same as `al`."""

import sys

from al_cli.cli.main import main

sys.exit(main())
