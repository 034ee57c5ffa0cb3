"""Processes that run jobs: supervisor, dispatcher, Ray workers, downloads."""
