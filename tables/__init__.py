"""Faust tables: profiles on local disk, and how a checkpoint is written to them."""
