"""Reads data sets: files of several formats, and those of the hub."""
