"""`python -m zscore_scorer history.parquet`: learns from a file of ordinary transactions what is usual."""

from __future__ import annotations

import json
import sys

from zscore_scorer import REFERENCE, fit

REFERENCE.write_text(json.dumps(fit(sys.argv[1])) + "\n", encoding="utf-8")
print(f"{REFERENCE}: what is usual in {sys.argv[1]}")
