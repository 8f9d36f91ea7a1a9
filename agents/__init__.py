"""Faust agents and what carries them: transport, fenced producers, checkpoints and recovery. Faust lives only here."""
