"""Run folders: the configuration, records and environment of a training run."""
