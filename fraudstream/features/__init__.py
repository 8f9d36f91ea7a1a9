"""The feature catalogue and the one computation of it that live, replay and training share."""
