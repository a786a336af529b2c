"""Estimates with intervals, ranking metrics, cluster bootstrap, AUROC."""
