"""Processes that run jobs: supervisor, dispatcher, Ray, downloads."""
