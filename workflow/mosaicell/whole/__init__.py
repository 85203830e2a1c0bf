"""Whole arrays in memory: the same code as the stages, without files and jobs."""
