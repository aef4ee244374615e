"""modelsyncctl, one file per verb."""
